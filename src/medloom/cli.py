"""The verbs of the command line: each parses, calls one function, and prints."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from rich.table import Table

    from .ledger import Done, Progress, Step
    from .recipe import Recipe
    from .run import Run, Tell
    from .train import Rehearsal

STARTED = time.monotonic()
OUTSIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # the machine's refusals, which its owner can mend
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Adapts an open language model to medicine and proves what it learned.")
recipes = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a recipe before it is run.")
app.add_typer(recipes, name="recipe")


class Fallback(TyperGroup):
    """A group whose first command is meant where none is named: `medloom corpus RECIPE` is `medloom corpus build RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = [next(iter(self.commands)), *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


corpora = typer.Typer(no_args_is_help=True, rich_markup_mode=None, cls=Fallback,
                      help="Files to cleaned, deduplicated, decontaminated, mixed, packed tokens. `medloom corpus RECIPE` builds them.",
                      epilog="Example: medloom corpus recipes/quickstart.toml --workers 8")
app.add_typer(corpora, name="corpus")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; may be given again.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the run is kept [default: runs/NAME].")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"medloom {version('medloom')}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


@app.command(epilog="Example: medloom demo --seed 2 --out /tmp/demo --no-chat")
def demo(seed: Annotated[int, typer.Option(help="Draws the invented world and the order of training.")] = 1,
         out: Annotated[Path, typer.Option(metavar="DIR", help="Where the run is kept.")] = Path("medloom-demo"),
         chat: Annotated[bool, typer.Option("--chat/--no-chat", help="Talk to the model at the end.")] = True,
         serve: Annotated[bool, typer.Option("--serve", help="Talk to it in the browser instead.")] = False,
         set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk the whole road offline on a small invented world of medicine, in about two minutes."""
    from .demo import demo_recipe, example_question

    run = _walk(demo_recipe(seed, set_ or ()), out, None, as_json, quiet)
    model = _served_file(run.root)
    if not quiet and not as_json:
        typer.echo(f"\nAsk it, for example: {example_question(run.done['world'].folder)}")
    if serve:
        from .serve import serve as start

        start(model, host="127.0.0.1", port=8000)
    elif chat and not as_json and sys.stdin.isatty():
        from .serve import chat as talk

        talk(model)
    elif not quiet and not as_json:
        typer.echo(f"Talk to it:  medloom chat {run.root}     or in the browser:  medloom serve {run.root}")


@app.command(epilog="Example: medloom run recipes/real-small.toml --set data=/data/medicine")
def run(recipe: RecipeFile, set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's whole road: corpus, training, evaluation, export, card. What is done already is not done again."""
    _walk(_read(recipe, set_), out, None, as_json, quiet)


def _stage(name: str, help_: str) -> None:
    def verb(recipe: RecipeFile, set_: Set = None, out: Out = None, as_json: Json = False, quiet: Quiet = False) -> None:
        _walk(_read(recipe, set_), out, name, as_json, quiet)

    app.command(name, help=help_, epilog=f"Example: medloom {name} recipes/quickstart.toml")(verb)


_stage("pretrain", "Walk a recipe's road as far as continued pretraining.")
_stage("finetune", "Walk a recipe's road as far as finetuning.")
_stage("evaluate", "Walk a recipe's road as far as the answers to every benchmark, with the paired comparison to the base model.")
_stage("export", "Walk a recipe's road as far as the GGUF files and what each of them costs in quality.")
_stage("card", "Walk a recipe's whole road and write the model card.")


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

    from .ledger.files import write_text
    from .train.hosts import by_hand, check_layout
    from .train.slurm import Allocation, batch_script

    read = _read(recipe, set_)
    check_layout(read, nodes, gpus)
    built = _rehearsed(read)
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
        _print_json({"commands": commands, "script": str(script) if slurm else None, "states_gb": built.states_gb})
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
    from .screen import sweep_table
    from .sweep import sweep as walk

    read = _read(recipe, set_)
    numbers = _seeds([seeds, *(more or ())])
    root = out or Path("runs") / read.name
    with _walking(read, root, quiet) as (progress, tell):
        found = walk(read, root, numbers, progress, tell)
    if as_json:
        _print_json(found.figures())
    else:
        _print_tables([sweep_table(found)])
        typer.echo(f"{found.seconds:.1f} s.  All figures: {root / 'sweep.json'}")


@app.command(epilog="Example: medloom merge runs/mine/latest/finetune/adapter --base Llama-2-7b-hf --out mine-7b")
def merge(adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="The folder of a LoRA or DoRA adapter in peft's form.")],
          base: Annotated[Path, typer.Option(metavar="MODEL", help="The model folder that it was trained beside.")],
          out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write; must be new or empty.")],
          dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "bfloat16",
          as_json: Json = False, quiet: Quiet = False) -> None:
    """Make one model folder of a base model and an adapter."""
    from .train import merge_folder

    changed = merge_folder(_existing(adapter), _existing(base), out, dtype)
    if as_json:
        _print_json({"model": str(out), "layers": changed, "dtype": dtype})
    elif not quiet:
        typer.echo(f"{out}: {changed} layers of {base} changed by {adapter}, {dtype}")


Workers = Annotated[int | None, typer.Option(min=1, help="Processes at a time [default: one per CPU, where that is worth it].")]
EngineName = Annotated[str | None, typer.Option("--engine", help="processes, ray or slurm [default: the recipe's, else processes].")]


@corpora.command("build", epilog="Example: medloom corpus recipes/quickstart.toml --workers 8")
def corpus_build(recipe: RecipeFile, set_: Set = None, out: Out = None, workers: Workers = None, engine: EngineName = None,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Walk a recipe's road as far as the corpus: files to cleaned, deduplicated, decontaminated, mixed, packed tokens."""
    more = [f"corpus.{key}={value}" for key, value in (("workers", workers), ("engine", engine)) if value]
    _walk(_read(recipe, [*(set_ or ()), *more]), out, "corpus", as_json, quiet)


@corpora.command("report", epilog="Example: medloom corpus report medloom-demo")
def corpus_report(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
                  as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw what came in, what went out and why, source by source: a page with plots and a Markdown file, left in DIR."""
    from .corpus import draw_report

    report, places = draw_report(_existing(run))
    if as_json:
        _print_json({**report, "files": [str(place) for place in places]})
    else:
        typer.echo(places[-1].read_text(encoding="utf-8"))
        if not quiet:
            typer.echo(f"The same as a page with plots: {places[0]}", err=True)


@corpora.command("mixture", epilog="Example: medloom corpus mixture recipes/meditron-7b.toml")
def corpus_mixture(recipe: RecipeFile, set_: Set = None, as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell what the mixture of a recipe will be, from what its sources are said to hold, before any of them is here."""
    from dataclasses import asdict

    from .corpus import forecast
    from .screen import mixture_table

    rows = forecast(_read(recipe, set_))
    if as_json:
        _print_json({"sources": [asdict(row) for row in rows]})
    else:
        _print_tables([mixture_table(rows)])


@corpora.command("token", epilog="Example: medloom corpus token medloom-demo 123456")
def corpus_token(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
                 number: Annotated[int, typer.Argument(metavar="K", min=0, help="A token's number, counted from 0.")],
                 trained: Annotated[bool, typer.Option("--trained", help="Count in the order of training, not in the store.")] = False,
                 as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell which document a token is from."""
    from .corpus import document_of_token

    found = document_of_token(_existing(run), number, trained)
    if as_json:
        _print_json(found)
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

    from .passport import contamination as test
    from .passport import read_questions, read_sketch
    from .screen import contamination_lines

    sketch = read_sketch(model)
    found = test(sketch, read_questions(benchmark, tuple(field or ())))
    if as_json:
        _print_json({**asdict(found), "words": sketch.words, "documents": sketch.documents})
    else:
        typer.echo("\n".join(contamination_lines(found, sketch)))


@app.command(epilog="Example: medloom show medloom-demo")
def show(run: Annotated[Path, typer.Argument(metavar="DIR", help="Where a run is kept.")],
         verify: Annotated[bool, typer.Option("--verify", help="Read every output again and hold it against its record.")] = False,
         as_json: Json = False, quiet: Quiet = False) -> None:
    """Draw the lineage of a run as a tree, with figures."""
    from .ledger import Ledger
    from .ledger.show import tree

    ledger = Ledger(_existing(run))
    faults = ledger.verify() if verify else []
    steps = [] if faults else ledger.road()
    if as_json:
        _print_json({"steps": [dict(done.record) for done in steps], "faults": faults})
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
    from .road import Road
    from .run import check

    read = _read(recipe, set_)
    road = Road(read)
    check(road, list(road.steps.values()))
    if as_json:
        _print_json({"recipe": read.model_dump(mode="json"), "steps": list(road.steps)})
    else:
        typer.echo(f"{recipe}: good. {len(road.steps)} steps: {', '.join(road.steps)}")


@app.command(epilog="Example: medloom plan recipes/meditron-7b.toml --utilisation 0.4")
def plan(recipe: RecipeFile, set_: Set = None,
         utilisation: Annotated[float | None, typer.Option(min=0, max=1, help="Share of peak that training reaches.")] = None,
         rehearse: Annotated[bool, typer.Option("--rehearse", help="Build the layout's ranks too, without memory, and see that they fit.")
                             ] = False,
         as_json: Json = False, quiet: Quiet = False) -> None:
    """Tell parameters, FLOPs, memory, time, cost, energy and carbon of a recipe before it runs."""
    from dataclasses import asdict

    from .plan import describe
    from .plan import plan as estimate

    read = _read(recipe, set_)
    found = estimate(read, utilisation=utilisation)
    built = _rehearsed(read) if rehearse else None
    if as_json:
        _print_json(asdict(found) | ({"rehearsal": asdict(built) | {"states_gb": built.states_gb}} if built is not None else {}))
    else:
        typer.echo(describe(found))
        if built is not None:
            typer.echo(f"  {built}")


@app.command(epilog="Example: medloom audit README.md")
def audit(card: Annotated[Path, typer.Argument(metavar="FILE", help="A model card, Markdown or plain text; anyone's.")],
          as_json: Json = False, quiet: Quiet = False) -> None:
    """Recompute the numbers of a model card and say which cannot hold. Exit code 1 where one is an error."""
    from dataclasses import asdict

    from .card import audit as examine

    findings = examine(_existing(card))
    if as_json:
        _print_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            typer.echo(f"{finding.severity:<8} {finding.law}: {finding.statement}")
            typer.echo(f"         {finding.arithmetic}\n         {finding.remedy}")
        typer.echo(f"{len(findings)} findings, {sum(f.severity == 'error' for f in findings)} of them errors")
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


ModelFolder = "A model folder in Hugging Face form."


@app.command("verify-weights", epilog="Example: medloom verify-weights models/base medloom-demo/latest/pretrain")
def verify(a: Annotated[Path, typer.Argument(metavar="A", help=ModelFolder)],
           b: Annotated[Path, typer.Argument(metavar="B", help=ModelFolder)],
           as_json: Json = False, quiet: Quiet = False) -> None:
    """Say whether two folders hold the same model: configuration, tokenizer, tensors, scores. Exit code 1 where they do not."""
    from dataclasses import asdict

    from .ledger import Bars, Silent
    from .model import describe, verify_weights

    found = verify_weights(_existing(a), _existing(b), Silent() if quiet else Bars())
    if as_json:
        _print_json({"same": found.same, **asdict(found)})
    else:
        typer.echo(describe(found))
    if not found.same:
        raise typer.Exit(1)


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A GGUF file, or the folder of a run.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of the engine [default: cores - 1].")]
Context = Annotated[int | None, typer.Option(min=1, help="Tokens that a question and its answer may take [default: the model's].")]


@app.command(epilog="Example: medloom serve medloom-demo --port 8000")
def serve(model: Model, host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
          port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
          key: Annotated[list[str] | None, typer.Option("--key", envvar="MEDLOOM_KEYS", help="Accept only requests with this key.")] = None,
          threads: Threads = None, context: Context = None,
          slots: Annotated[int, typer.Option(min=1, help="Answers computed at a time.")] = 4,
          queue: Annotated[int, typer.Option(min=0, help="Requests that may wait; more are told to come back.")] = 16) -> None:
    """Serve a GGUF file: an OpenAI-compatible API with streaming, and a page to talk to it.

    Beyond this machine (--host) only with a --key.
    """
    from .serve import serve as start

    start(_served_file(model), host=host, port=port, keys=tuple(key or ()), threads=threads, context=context, slots=slots, queue=queue)


@app.command(epilog="Example: medloom chat medloom-demo")
def chat(model: Model, threads: Threads = None, context: Context = None) -> None:
    """Talk to a GGUF file in the terminal."""
    from .serve import chat as talk

    talk(_served_file(model), threads=threads, context=context)


def _rehearsed(recipe: Recipe) -> Rehearsal:
    """The layout of a recipe, built without memory."""
    from .ledger import Refusal
    from .plan.network import network
    from .train import rehearse

    settings = recipe.pretrain or recipe.finetune
    if settings is None:
        raise Refusal(f"{recipe.name}: trains nothing, so there is no layout to rehearse; add [pretrain] or [finetune]")
    return rehearse(network(recipe)[0], recipe.layout, settings)


def _read(path: Path, overrides: list[str] | None) -> Recipe:
    from .recipe import read_recipe

    return read_recipe(path, overrides or ())


def _seeds(words: list[str]) -> list[int]:
    """`--seeds 1 2 3` and `--seeds 1,2,3` are these seeds, `--seeds 3` those from 1 to 3."""
    from .ledger import Refusal

    try:
        numbers = [int(word) for words_ in words for word in words_.split(",")]
    except ValueError:
        raise Refusal(f"--seeds {' '.join(words)}: write whole numbers after the recipe, for example --seeds 1 2 3") from None
    return numbers if len(numbers) > 1 else list(range(1, numbers[0] + 1))


@contextmanager
def _walking(recipe: Recipe, root: Path, quiet: bool) -> Iterator[tuple[Progress, Tell]]:
    """Bars and a line for each step, unless they are not wanted; an interruption ends with its code."""
    from .ledger import Bars, Silent
    from .screen import step_line

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


def _walk(recipe: Recipe, out: Path | None, until: str | None, as_json: bool, quiet: bool) -> Run:
    from .notice import NOTICE_SHORT
    from .run import run as walk
    from .screen import cautions, result_tables, where_files_lie

    root = out or Path("runs") / recipe.name
    with _walking(recipe, root, quiet) as (progress, tell):
        finished = walk(recipe, root, progress, tell, until, STARTED)
    if as_json:
        _print_json(finished.summary)
        return finished
    if not finished.fresh and not quiet:
        typer.echo(f"Nothing to do: all {len(finished.done)} steps are there already.", err=True)
    _print_tables(result_tables(finished.summary))
    typer.echo("\n".join([*cautions(finished.summary), *where_files_lie(finished)]))
    typer.echo(f"{finished.seconds:.1f} s.  {NOTICE_SHORT}")
    return finished


def _served_file(model: Path) -> Path:
    """The GGUF that a person means: the file, or the smallest one of a run."""
    from .ledger import Refusal

    if model.is_file():
        return model
    files = sorted((model / "latest").glob("export-*/*.gguf"), key=lambda path: path.stat().st_size)
    if not files:
        raise Refusal(f"{model}: neither a GGUF file nor the folder of a run that exported one; write one with: medloom export RECIPE")
    return files[0]


def _existing(path: Path) -> Path:
    from .ledger import Refusal

    if not path.exists():
        raise Refusal(f"{path}: no such file or folder")
    return path


def _print_tables(tables: Iterable[Table]) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for table in tables:
        console.print(table)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def main() -> None:
    """Run a verb. Exit codes: 0 done, 1 the answer is no, 2 bad input, 3 failed inside, 75 stopped and saved, 130 interrupted."""
    # Threads that spin while they wait cost a training step up to eight times its time where another program shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Exception as error:
        from .ledger import STOPPED, Broken, Refusal, Stopped

        if isinstance(error, Refusal):
            typer.echo(f"medloom: {error}", err=True)
            sys.exit(2)
        if isinstance(error, Stopped):
            typer.echo(f"medloom: {error}; the same command goes on from there", err=True)
            sys.exit(STOPPED)
        if isinstance(error, OSError) and error.errno in OUTSIDE:
            typer.echo(f"medloom: {error.filename or 'output'}: {error.strerror}; mend that and give the same command again", err=True)
            sys.exit(2)
        if isinstance(error, Broken):
            typer.echo(f"medloom: {error}", err=True)
        else:
            import traceback

            traceback.print_exc()
        typer.echo("medloom: failed inside; what was finished is kept, and the same command goes on from there", err=True)
        sys.exit(3)
