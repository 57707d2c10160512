"""Verbs to talk to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .common import app, served_file

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
    from ..serve import serve as start

    start(served_file(model), host=host, port=port, keys=tuple(key or ()), threads=threads, context=context, slots=slots, queue=queue)


@app.command(epilog="Example: medloom chat medloom-demo")
def chat(model: Model, threads: Threads = None, context: Context = None) -> None:
    """Talk to a GGUF file in the terminal."""
    from ..serve import chat as talk

    talk(served_file(model), threads=threads, context=context)
