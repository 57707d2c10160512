"""Verbs of model folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import Json, Quiet, app, existing, print_json

ModelFolder = "A model folder in Hugging Face form."


@app.command(epilog="Example: medloom merge runs/mine/latest/finetune/adapter --base Llama-2-7b-hf --out mine-7b")
def merge(adapter: Annotated[Path, typer.Argument(metavar="ADAPTER", help="The folder of a LoRA or DoRA adapter in peft's form.")],
          base: Annotated[Path, typer.Option(metavar="MODEL", help="The model folder that it was trained beside.")],
          out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write; must be new or empty.")],
          dtype: Annotated[str, typer.Option(help="float32, float16 or bfloat16.")] = "bfloat16",
          as_json: Json = False, quiet: Quiet = False) -> None:
    """Make one model folder of a base model and an adapter."""
    from ..train import merge_folder

    changed = merge_folder(existing(adapter), existing(base), out, dtype)
    if as_json:
        print_json({"model": str(out), "layers": changed, "dtype": dtype})
    elif not quiet:
        typer.echo(f"{out}: {changed} layers of {base} changed by {adapter}, {dtype}")


@app.command("import", epilog="Example: medloom import meditron-7b.Q4_K_M.gguf --out meditron-7b")
def import_(file: Annotated[Path, typer.Argument(metavar="FILE", help="A GGUF file of the llama architecture, quantised or not.")],
            out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write; must be new or empty.")],
            dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
            as_json: Json = False, quiet: Quiet = False) -> None:
    """Make a model folder of a GGUF file: weights dequantised, tokenizer, chat template, and a note of where it came from."""
    from ..ledger import Bars, Silent
    from ..quantise import import_gguf

    made = import_gguf(file, out, dtype, progress=Silent() if quiet else Bars())
    if as_json:
        print_json({"model": str(out), **made})
    elif not quiet:
        kinds = ", ".join(f"{count} {kind}" for kind, count in made["tensors"].items())
        typer.echo(f"{out}: the model in {file} ({made['type']}: {kinds}), {made['parameters']:,} parameters in {dtype}")


@app.command("verify-weights", epilog="Example: medloom verify-weights models/base medloom-demo/latest/pretrain")
def verify(a: Annotated[Path, typer.Argument(metavar="A", help=ModelFolder)],
           b: Annotated[Path, typer.Argument(metavar="B", help=ModelFolder)],
           as_json: Json = False, quiet: Quiet = False) -> None:
    """Say whether two folders hold the same model: configuration, tokenizer, tensors, scores. Exit code 1 where they do not."""
    from dataclasses import asdict

    from ..ledger import Bars, Silent
    from ..model import describe, verify_weights

    found = verify_weights(existing(a), existing(b), Silent() if quiet else Bars())
    if as_json:
        print_json({"same": found.same, **asdict(found)})
    else:
        typer.echo(describe(found))
    if not found.same:
        raise typer.Exit(1)
