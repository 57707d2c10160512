"""Verbs of GGUF files: making them, and saying which may ship."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Out, Quiet, RecipeFile, Set, app, existing, print_json, print_tables, recipe_of, walk, walking


@app.command(epilog="Example: medloom export recipes/quickstart.toml --imatrix 100000")
def export(recipe: RecipeFile,
           imatrix: Annotated[int | None, typer.Option(metavar="N", help="Weigh columns by what they matter over so many positions of the "
                                                       "training corpus.")] = None,
           set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's road as far as the GGUF files and what each of them costs in quality."""
    overrides = [*(set_ or ()), *([] if imatrix is None else [f"export.imatrix={imatrix}"])]
    walk(recipe_of(recipe, overrides), out, "export", as_json, quiet)


@app.command(epilog="Example: medloom quantise models/mine --type Q4_K_M --type Q8_0 --calibration notes.txt --out files")
def quantise(source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A model folder, or a GGUF file of full weights.")],
             type_: Annotated[list[str], typer.Option("--type", metavar="TYPE", help="F16, Q8_0, Q4_K_M, ...; may be given again.")],
             out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files are written.")] = Path(),
             imatrix: Annotated[Path | None, typer.Option(metavar="FILE", help="An importance matrix, ours or llama-imatrix's.")] = None,
             calibration: Annotated[Path | None, typer.Option(metavar="FILE", help="Text to collect an importance matrix on: plain, or "
                                                              "JSON lines with `text`. Never a benchmark's.")] = None,
             positions: Annotated[int, typer.Option(min=1, help="Tokens of it that are read.")] = 100_000,
             as_json: Json = False, quiet: Quiet = False) -> None:
    """Make GGUF files of any model folder, with llama.cpp's bytes. What each costs in quality is the gate's to say."""
    from ..ledger import Bars, Silent
    from ..quantise import make_files

    found = make_files(existing(source), type_, out, importance=imatrix, calibration=calibration, positions=positions,
                       progress=Silent() if quiet else Bars())
    if as_json:
        print_json({"files": found})
        return
    for file in found:
        typer.echo(f"{file['file']}  {file['bytes'] / 1e6:,.2f} MB")
    if not quiet:
        typer.echo("What each costs: medloom gate", err=True)


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
