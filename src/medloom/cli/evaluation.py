"""Verbs that ask questions, and that hold answers against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Fallback, Json, Out, Quiet, RecipeFile, Set, app, existing, print_json, print_report, recipe_of, walk

evaluations = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Fallback,
                          help="Ask models questions and draw what came of it. `medloom evaluate RECIPE` asks them.",
                          epilog="Example: medloom evaluate recipes/quickstart.toml --protocol meditron")
app.add_typer(evaluations, name="evaluate")


@evaluations.command("ask", epilog="Example: medloom evaluate recipes/quickstart.toml")
def evaluate(recipe: RecipeFile, set_: Set = None, out: Out = None,
             protocol: Annotated[str | None, typer.Option(help="medloom, or meditron: the original's, defects and all.")] = None,
             as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's road as far as the answers to every benchmark, with the paired comparison to the base model."""
    read = recipe_of(recipe, [*(set_ or ()), *([f"evaluate.protocol={protocol}"] if protocol else [])])
    walk(read, out, "evaluate", as_json, quiet)
    if read.evaluate.protocol == "meditron" and not quiet:
        from ..evaluate import DEFECTS

        typer.echo("The original's protocol, with what is wrong with it:", err=True)
        for defect in DEFECTS:
            typer.echo(f"  {defect.name}: {defect.effect}", err=True)


@evaluations.command("report", epilog="Example: medloom evaluate report medloom-demo")
def evaluate_report(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
                    as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw what was asked and answered: a page with plots and a Markdown file, left in DIR."""
    from ..evaluate import draw_evaluation

    print_report(*draw_evaluation(existing(run)), as_json, quiet)


@app.command(epilog="Example: medloom compare runs/a runs/b   or   medloom compare samples_a.jsonl samples_b.jsonl")
def compare(a: Annotated[str, typer.Argument(metavar="A", help="A run's folder (RUN@MODEL for one of its models), answers.jsonl, or "
                                             "lm-eval's samples, a file or a folder.")],
            b: Annotated[str, typer.Argument(metavar="B", help="The same of what A is held against.")],
            metric: Annotated[str | None, typer.Option(help="lm-eval's metric that tells right from wrong [default: acc, …].")] = None,
            as_json: Json = False, quiet: Quiet = False) -> None:
    """Hold two models' answers to the same questions against each other: the paired table, ours or lm-eval's."""
    from ..evaluate import compare_files, describe_compare

    found = compare_files(a, b, metric=metric)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(describe_compare(found)))


@app.command(epilog="Example: medloom rescore outputs.jsonl --id qid --gold answer --text response")
def rescore(file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON lines, one a question, anyone's.")],
            id_: Annotated[str, typer.Option("--id", metavar="FIELD", help="The field that tells questions apart; a.b for nested ones.")],
            gold: Annotated[str, typer.Option(metavar="FIELD", help="The right answer: a letter, a number, or the option's text.")],
            text: Annotated[str | None, typer.Option(metavar="FIELD", help="What the model wrote.")] = None,
            choice: Annotated[str | None, typer.Option(metavar="FIELD", help="What it chose.")] = None,
            logprobs: Annotated[str | None, typer.Option(metavar="FIELD", help="The options' log-probabilities.")] = None,
            base: Annotated[Path | None, typer.Option(metavar="FILE2", help="Another model's lines, to hold these against.")] = None,
            options: Annotated[str | None, typer.Option(metavar="N|FIELD", help="How many options, or the field that holds them.")] = None,
            first: Annotated[int | None, typer.Option(min=0, max=1, help="The number of the first option, for answers that are numbers.")
                             ] = None,
            as_json: Json = False, quiet: Quiet = False) -> None:
    """Score published answers again: accuracy, intervals, calibration, and the paired difference to another model's."""
    from ..evaluate import describe_rescore
    from ..evaluate import rescore as score_again

    found = score_again(existing(file), id=id_, gold=gold, text=text, choice=choice, logprobs=logprobs, options=options, first=first,
                        base=existing(base) if base is not None else None)
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(describe_rescore(found)))
