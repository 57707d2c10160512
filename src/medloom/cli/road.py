"""Verbs that walk a recipe's road, or say beforehand what it will take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .common import (
    Json,
    Out,
    Quiet,
    RecipeFile,
    Set,
    app,
    existing,
    print_json,
    print_tables,
    recipe_of,
    rehearsed,
    served_file,
    walk,
    walking,
)

recipes = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a recipe before it is run.")
app.add_typer(recipes, name="recipe")


@app.command(epilog="Example: medloom demo --seed 2 --out /tmp/demo --no-chat")
def demo(seed: Annotated[int, typer.Option(help="Draws the invented world and the order of training.")] = 1,
         out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run is kept.")] = Path("medloom-demo"),
         chat: Annotated[bool, typer.Option("--chat/--no-chat", help="Talk to the model at the end.")] = True,
         serve: Annotated[bool, typer.Option("--serve", help="Talk to it in the browser instead.")] = False,
         set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk the whole road offline on a small invented world of medicine, in about two minutes."""
    from ..demo import demo_recipe, example_question

    run = walk(demo_recipe(seed, set_ or ()), out, None, as_json, quiet)
    model = served_file(run.root)
    if not quiet and not as_json:
        typer.echo(f"\nAsk it, for example: {example_question(run.done['world'].folder)}")
    if serve:
        from ..serve import serve as start

        start(model, host="127.0.0.1", port=8000)
    elif chat and not as_json and sys.stdin.isatty():
        from ..serve import chat as talk

        talk(model)
    elif not quiet and not as_json:
        typer.echo(f"Talk to it:  medloom chat {run.root}     or in the browser:  medloom serve {run.root}")


@app.command(epilog="Example: medloom run recipes/real-small.toml --set data=/data/medicine")
def run(recipe: RecipeFile, set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's whole road: corpus, training, evaluation, export, card. What is done already is not done again."""
    walk(recipe_of(recipe, set_), out, None, as_json, quiet)


def _stage(name: str, help_: str) -> None:
    def verb(recipe: RecipeFile, set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
        walk(recipe_of(recipe, set_), out, name, as_json, quiet)

    app.command(name, help=help_, epilog=f"Example: medloom {name} recipes/quickstart.toml")(verb)


_stage("pretrain", "Walk a recipe's road as far as continued pretraining.")
_stage("finetune", "Walk a recipe's road as far as finetuning.")


@app.command(epilog="Example: medloom launch recipes/meditron-7b.toml --nodes 4 --gpus 8 --slurm --partition gpu --time 24:00:00")
def launch(recipe: RecipeFile, nodes: Annotated[int, typer.Option(min=1, help="Hosts that take part.")] = 1,
           gpus: Annotated[int, typer.Option(min=1, help="Accelerators of each, and so processes.")] = 8,
           slurm: Annotated[bool, typer.Option("--slurm", help="Write a batch script for Slurm.")] = False,
           partition: Annotated[str | None, typer.Option(help="Slurm's partition.")] = None,
           account: Annotated[str | None, typer.Option(help="Slurm's account.")] = None,
           time_: Annotated[str, typer.Option("--time", help="Slurm's time limit; a run that needs longer saves and queues again.")
                            ] = "24:00:00",
           cpus: Annotated[int | None, typer.Option(min=1, help="Processors of each node [default: whole nodes].")] = None,
           sbatch: Annotated[list[str] | None, typer.Option("--sbatch", metavar="KEY=VALUE", help="Another option of sbatch; repeatable.")
                             ] = None,
           host: Annotated[str | None, typer.Option(help="Without Slurm: the first host's name [default: this one's].")] = None,
           port: Annotated[int, typer.Option(min=1, max=65535, help="Without Slurm: where the hosts meet on the first.")] = 29400,
           out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="The script [default: medloom-NAME.sbatch].")] = None,
           run: Annotated[Path | None, typer.Option("--run", metavar="DIR", help="Where the run is kept [default: runs/NAME].")] = None,
           set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell how to run a recipe on several hosts: a batch script for Slurm, or the command for each host.

    All hosts must see DIR under the same path.
    """
    import shlex
    import socket

    from ..ledger.files import write_text
    from ..train.hosts import by_hand, check_layout
    from ..train.slurm import Allocation, batch_script

    read = recipe_of(recipe, set_)
    check_layout(read, nodes, gpus)
    built = rehearsed(read)
    folder = (run or Path("runs") / read.name).absolute()
    words = [sys.executable, "-m", "medloom", "run", str(recipe.absolute()), *(f"--set={override}" for override in set_ or ())]
    words += ["--out", str(folder)]
    if slurm:
        script = (out or Path(f"medloom-{read.name}.sbatch")).absolute()
        wanted = Allocation(nodes, gpus, time_, partition, account, cpus, tuple(sbatch or ()))
        write_text(script, batch_script(read, wanted, words, script.parent))
        commands = {"first": shlex.join(["sbatch", str(script)])}
    else:
        commands = by_hand(words, folder, nodes, gpus, host or socket.gethostname(), port)
    if as_json:
        print_json({"commands": commands, "script": str(script) if slurm else None, "states_gb": built.states_gb})
        return
    if not quiet:
        typer.echo(f"# {built}", err=True)
    for which, command in commands.items():
        if len(commands) > 1 and not quiet:
            typer.echo(f"# on {'the first host' if which == 'first' else 'every other host'}:", err=True)
        typer.echo(command)


@app.command(epilog="Example: medloom sweep recipes/meditron-7b.toml --seeds 1 2 3")
def sweep(recipe: RecipeFile,
          more: Annotated[list[str] | None, typer.Argument(metavar="", hidden=True)] = None,
          seeds: Annotated[str, typer.Option("--seeds", metavar="N ...", help="Seeds of the finetuning; one number N means 1 to N.")] = "3",
          set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Finetune and evaluate a recipe under several seeds, and tell how far the accuracies lie apart.

    Corpus and pretraining are made once. What is done already is not done again.
    """
    from ..screen import sweep_table
    from ..sweep import sweep as walk

    read = recipe_of(recipe, set_)
    numbers = _seeds([seeds, *(more or ())])
    root = out or Path("runs") / read.name
    with walking(read, root, quiet) as (progress, tell):
        found = walk(read, root, numbers, progress, tell)
    if as_json:
        print_json(found.figures())
    else:
        print_tables([sweep_table(found)])
        typer.echo(f"{found.seconds:.1f} s.  All figures: {root / 'sweep.json'}")


@app.command(epilog="Example: medloom show medloom-demo")
def show(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
         verify: Annotated[bool, typer.Option("--verify", help="Read every output again and hold it against its record.")] = False,
         as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw the lineage of a run as a tree, with figures."""
    from ..ledger import Ledger
    from ..ledger.show import tree

    ledger = Ledger(existing(run))
    faults = ledger.verify() if verify else []
    steps = [] if faults else ledger.road()
    if as_json:
        print_json({"steps": [dict(done.record) for done in steps], "faults": faults})
    else:
        typer.echo("\n".join(tree(steps)))
        if verify and not faults:
            typer.echo(f"\nverified: the chain, the records of {len(steps)} steps and all their outputs are as they were written")
    for fault in faults:
        typer.echo(f"medloom: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


@recipes.command("check", epilog="Example: medloom recipe check recipes/meditron-7b.toml")
def recipe_check(recipe: RecipeFile, set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Say whether a recipe can be used, and which steps it asks for."""
    from ..road import Road
    from ..run import check

    read = recipe_of(recipe, set_)
    road = Road(read)
    check(road, list(road.steps.values()))
    if as_json:
        print_json({"recipe": read.model_dump(mode="json"), "steps": list(road.steps)})
    else:
        typer.echo(f"{recipe}: good. {len(road.steps)} steps: {', '.join(road.steps)}")


def _seeds(words: list[str]) -> list[int]:
    """`--seeds 1 2 3` and `--seeds 1,2,3` are these seeds, `--seeds 3` those from 1 to 3."""
    from ..ledger import Refusal

    try:
        numbers = [int(word) for words_ in words for word in words_.split(",")]
    except ValueError:
        raise Refusal(f"--seeds {' '.join(words)}: write whole numbers after the recipe, for example --seeds 1 2 3") from None
    return numbers if len(numbers) > 1 else list(range(1, numbers[0] + 1))
