"""Verbs of GGUF files: which of them may ship."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Out, Quiet, Set, app, print_json, print_tables, walking


@app.command(epilog="Example: medloom gate medloom-demo   or   medloom gate models/mine --recipe recipes/meditron-7b.toml --type Q4_K_M")
def gate(model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run's folder, a recipe, or a model folder with --recipe.")],
         recipe: Annotated[Path | None, typer.Option(metavar="RECIPE", help="For a model folder: whose benchmarks are asked, and whose "
                                                     "held-out text is read.")] = None,
         type_: Annotated[list[str] | None, typer.Option("--type", metavar="TYPE", help="A type to make and judge; may be given again "
                                                         "[default: the recipe's].")] = None,
         file: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A GGUF file of this model, made elsewhere, to judge too; "
                                                         "may be given again.")] = None,
         margin: Annotated[float | None, typer.Option(help="Points of accuracy that may be lost [default: the recipe's, or 1].")] = None,
         kl: Annotated[float | None, typer.Option(help="Nats a token that may be lost [default: the recipe's, or 0.01].")] = None,
         set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Hold GGUF files against the model they were made of, and say which may ship. Exit code 1 where none may.

    Each file is measured against the model in float32 on the same text and the same questions: KL divergence, likeliest tokens, bits per
    byte, every benchmark's accuracy with its paired difference, calibration, size and speed. What is there already is not done again.
    """
    from ..gating import chosen
    from ..run import run
    from ..screen import gate_lines, gate_tables

    read, root = chosen(model, recipe, type_ or (), file or (), margin, kl, set_ or ())
    with walking(read, out or root, quiet) as (progress, tell):
        finished = run(read, out or root, progress, tell, "gate")
    found = finished.done["gate"].figures
    if as_json:
        print_json(dict(found))
    else:
        print_tables(gate_tables(found))
        typer.echo("\n".join(gate_lines(found, finished.root / "latest" / "gate")))
    if found["smallest"] is None:
        raise typer.Exit(1)
