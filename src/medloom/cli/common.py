"""What all verbs share: the application, the options that mean the same everywhere, walking a recipe's road, printing."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.table import Table

    from ..ledger import Done, Progress, Step
    from ..recipe import Recipe
    from ..run import Run, Tell
    from ..train import Rehearsal

STARTED = time.monotonic()
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Adapts an open language model to medicine and proves what it learned.")


class Fallback(TyperGroup):
    """A group whose first command is meant where none is named: `medloom corpus RECIPE` is `medloom corpus build RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = [next(iter(self.commands)), *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; may be given again.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the run is kept [default: runs/NAME].")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.")]


def rehearsed(recipe: Recipe) -> Rehearsal:
    """The layout of a recipe, built without memory."""
    from ..ledger import Refusal
    from ..plan.network import network
    from ..train import rehearse

    settings = recipe.pretrain or recipe.finetune
    if settings is None:
        raise Refusal(f"{recipe.name}: trains nothing, so there is no layout to rehearse; add [pretrain] or [finetune]")
    return rehearse(network(recipe)[0], recipe.layout, settings)


def recipe_of(path: Path, overrides: list[str] | None) -> Recipe:
    """The recipe of a command line."""
    from ..recipe import read_recipe

    return read_recipe(path, overrides or ())


@contextmanager
def walking(recipe: Recipe, root: Path, quiet: bool) -> Iterator[tuple[Progress, Tell]]:
    """Bars and a line for each step, unless they are not wanted; an interruption ends with its code."""
    from ..ledger import Bars, Silent
    from ..screen import step_line

    def tell(step: Step, done: Done) -> None:
        if not quiet:
            typer.echo(step_line(step.name, done), err=True)

    if not quiet:
        typer.echo(f"{recipe.name}: {root}", err=True)
    try:
        yield Silent() if quiet else Bars(), tell
    except KeyboardInterrupt:
        typer.echo("\nmedloom: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def walk(recipe: Recipe, out: Path | None, until: str | None, as_json: bool, quiet: bool) -> Run:
    """Walk a recipe's road, as far as the stage `until` where one is named, and print what it came to."""
    from ..notice import NOTICE_SHORT
    from ..run import run
    from ..screen import cautions, result_tables, where_files_lie

    root = out or Path("runs") / recipe.name
    with walking(recipe, root, quiet) as (progress, tell):
        finished = run(recipe, root, progress, tell, until, STARTED)
    if as_json:
        print_json(finished.summary)
        return finished
    if not finished.fresh and not quiet:
        typer.echo(f"Nothing to do: all {len(finished.done)} steps are there already.", err=True)
    print_tables(result_tables(finished.summary))
    typer.echo("\n".join([*cautions(finished.summary), *where_files_lie(finished)]))
    typer.echo(f"{finished.seconds:.1f} s.  {NOTICE_SHORT}")
    return finished


def served_file(model: Path) -> Path:
    """What a person means to serve: the GGUF file, the model folder, or the smallest file of a run."""
    from ..ledger import Refusal

    if model.is_file() or (model / "config.json").is_file():
        return model
    files = sorted((model / "latest").glob("export-*/*.gguf"), key=lambda path: path.stat().st_size)
    if not files:
        raise Refusal(f"{model}: neither a GGUF file nor the folder of a run that exported one; write one with: medloom export RECIPE")
    return files[0]


def existing(path: Path) -> Path:
    """The path, which must be there."""
    from ..ledger import Refusal

    if not path.exists():
        raise Refusal(f"{path}: no such file or folder")
    return path


def print_tables(tables: Iterable[Table]) -> None:
    """Tables on stdout, wide where that is no terminal."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for table in tables:
        console.print(table)


def print_report(report: dict[str, Any], places: Sequence[Path], as_json: bool, quiet: bool) -> None:
    """A report that was drawn as a page, the first of `places`, and as Markdown, the last, which is printed."""
    if as_json:
        print_json({**report, "files": [str(place) for place in places]})
        return
    typer.echo(places[-1].read_text(encoding="utf-8"))
    if not quiet:
        typer.echo(f"The same as a page with plots: {places[0]}", err=True)


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))
