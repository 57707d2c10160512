"""Verbs that hold answers and cards against what they claim."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Quiet, app, existing, print_json, print_tables

Laws = Annotated[bool, typer.Option("--laws", help="List the laws, what each asks for and where it is from, and audit nothing.")]


@app.command(epilog="Example: medloom audit README.md")
def audit(card: Annotated[Path | None, typer.Argument(metavar="FILE", help="A model card, Markdown, HTML or plain text; anyone's.")] = None,
          laws: Laws = False, as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute the numbers of a model card and say which cannot hold, with the sentence and the sum. Exit code 1 where one is an error."""
    from rich.console import Console

    from ..card.audit import extent, findings, laws_table, read_card, report, told
    from ..ledger import Refusal

    if laws:
        print_tables([laws_table()])
        return
    if card is None:
        raise Refusal("no card is named; name a model card in Markdown, text or HTML: medloom audit README.md")
    read = read_card(existing(card))
    found = findings(read)
    if as_json:
        print_json(report(read, found))
    else:
        console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
        for paragraph in told(found):
            console.print(paragraph)
        if not quiet:
            typer.echo(extent(read), err=True)
    if any(finding.severity == "error" for finding in found):
        raise typer.Exit(1)
