"""Verbs that hold answers and cards against what they claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Quiet, app, existing, print_json


@app.command(epilog="Example: medloom audit README.md")
def audit(card: Annotated[Path, typer.Argument(metavar="FILE", help="A model card, Markdown or plain text; anyone's.")],
          as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute the numbers of a model card and say which cannot hold. Exit code 1 where one is an error."""
    from dataclasses import asdict

    from ..card import audit as examine

    findings = examine(existing(card))
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            typer.echo(f"{finding.severity:<8} {finding.law}: {finding.statement}")
            typer.echo(f"         {finding.arithmetic}\n         {finding.remedy}")
        typer.echo(f"{len(findings)} findings, {sum(f.severity == 'error' for f in findings)} of them errors")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)
