"""Verbs of the corpus, and of what a model has read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Fallback, Json, Out, Quiet, RecipeFile, Set, app, existing, print_json, print_report, print_tables, recipe_of, walk

corpora = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Fallback,
                      help="Files to cleaned, deduplicated, decontaminated, mixed, packed tokens. `medloom corpus RECIPE` builds them.",
                      epilog="Example: medloom corpus recipes/quickstart.toml --workers 8")
app.add_typer(corpora, name="corpus")

Workers = Annotated[int | None, typer.Option(min=1, help="Processes at a time [default: one per CPU, where that is worth it].")]
EngineName = Annotated[str | None, typer.Option("--engine", help="processes, ray or slurm [default: the recipe's, else processes].")]


@corpora.command("build", epilog="Example: medloom corpus recipes/quickstart.toml --workers 8")
def corpus_build(recipe: RecipeFile, set_: Set = None, out: Out = None, workers: Workers = None, engine: EngineName = None,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's road as far as the corpus: files to cleaned, deduplicated, decontaminated, mixed, packed tokens."""
    more = [f"corpus.{key}={value}" for key, value in (("workers", workers), ("engine", engine)) if value]
    walk(recipe_of(recipe, [*(set_ or ()), *more]), out, "corpus", as_json, quiet)


@corpora.command("report", epilog="Example: medloom corpus report medloom-demo")
def corpus_report(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
                  as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw what came in, what went out and why, source by source: a page with plots and a Markdown file, left in DIR."""
    from ..corpus import draw_report

    print_report(*draw_report(existing(run)), as_json, quiet)


@corpora.command("mixture", epilog="Example: medloom corpus mixture recipes/meditron-7b.toml")
def corpus_mixture(recipe: RecipeFile, set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell what the mixture of a recipe will be, from what its sources are said to hold, before any of them is here."""
    from dataclasses import asdict

    from ..corpus import forecast
    from ..screen import mixture_table

    rows = forecast(recipe_of(recipe, set_))
    if as_json:
        print_json({"sources": [asdict(row) for row in rows]})
    else:
        print_tables([mixture_table(rows)])


@corpora.command("token", epilog="Example: medloom corpus token medloom-demo 123456")
def corpus_token(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
                 number: Annotated[int, typer.Argument(metavar="K", min=0, help="A token's number, counted from 0.")],
                 trained: Annotated[bool, typer.Option("--trained", help="Count in the order of training, not in the store.")] = False,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell which document a token is from."""
    from ..corpus import document_of_token

    found = document_of_token(existing(run), number, trained)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(f"{name:<10} {value}" for name, value in found.items() if value is not None))


@app.command(epilog="Example: medloom contamination medloom-demo benchmarks/new.jsonl")
def contamination(model: Annotated[Path, typer.Argument(metavar="MODEL_OR_SKETCH", help="A model's or run's folder, or its passport.")],
                  benchmark: Annotated[Path, typer.Argument(metavar="BENCHMARK", help="JSON, JSON lines, CSV, Parquet, text; a folder.")],
                  field: Annotated[list[str] | None, typer.Option("--field", help="A field with a question's words [default: known ones].")
                                   ] = None,
                  as_json: Json = False, quiet: Quiet = False) -> None:
    """Test how much of a benchmark a model has read, from the contamination passport that lies beside its weights."""
    from dataclasses import asdict

    from ..passport import contamination as test
    from ..passport import read_questions, read_sketch
    from ..screen import contamination_lines

    sketch = read_sketch(model)
    found = test(sketch, read_questions(benchmark, tuple(field or ())))
    if as_json:
        print_json({**asdict(found), "words": sketch.words, "documents": sketch.documents})
    else:
        typer.echo("\n".join(contamination_lines(found, sketch)))
