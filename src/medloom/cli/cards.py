"""Verbs of the model card: it is written at a road's end, and can be checked ever after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Fallback, Json, Out, Quiet, RecipeFile, Set, app, existing, print_json, recipe_of, walk

cards = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Fallback,
                    help="Write a model card from the ledger, or check one. `medloom card RECIPE` writes it.",
                    epilog="Example: medloom card recipes/quickstart.toml")
app.add_typer(cards, name="card")


@cards.command("write", epilog="Example: medloom card recipes/quickstart.toml")
def card_write(recipe: RecipeFile, set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's whole road and write the model card: README.md, a page, a bill of materials, CHAI's card, and their manifest."""
    walk(recipe_of(recipe, set_), out, "card", as_json, quiet)


@cards.command("check", epilog="Example: medloom card check medloom-demo")
def card_check(place: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept, or the folder of its card.")],
               as_json: Json = False, quiet: Quiet = False) -> None:
    """Work out every figure of a card again from the records and files, and take every digest again. Exit code 1 where one differs."""
    from ..checking import check

    folder, faults = check(existing(place))
    if as_json:
        print_json({"card": str(folder), "faults": faults})
    elif not faults and not quiet:
        typer.echo(f"{folder}: holds; every figure, form and digest is as the ledger has it")
    for fault in faults:
        typer.echo(f"medloom: {fault}", err=True)
    if faults:
        raise typer.Exit(1)
