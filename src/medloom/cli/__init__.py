"""The verbs of the command line: each parses, calls one function, and prints."""

# The help lists verbs in the order of import.
# ruff: isort: skip_file

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from .common import app
from . import road, planning, quantising, evaluation, cards, ledgers, corpus, judging, models, serving, reviewing

__all__ = ["app", "cards", "corpus", "evaluation", "judging", "ledgers", "main", "models", "planning", "quantising",
           "reviewing", "road", "serving"]

OUTSIDE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # the machine's refusals, which its owner can mend


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"medloom {version('medloom')}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    pass


def main() -> None:
    """Run a verb. Exit codes: 0 done, 1 the answer is no, 2 bad input, 3 failed inside, 75 stopped and saved, 130 interrupted."""
    # Threads that spin while they wait cost a training step up to eight times its time where another program shares the cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except Exception as error:
        from ..ledger import STOPPED, Broken, Refusal, Stopped

        if isinstance(error, Refusal):
            typer.echo(f"medloom: {error}", err=True)
            sys.exit(2)
        if isinstance(error, Stopped):
            typer.echo(f"medloom: {error}; the same command goes on from there", err=True)
            sys.exit(STOPPED)
        if isinstance(error, OSError) and error.errno in OUTSIDE:
            typer.echo(f"medloom: {error.filename or 'output'}: {error.strerror}; mend that and give the same command again", err=True)
            sys.exit(2)
        if os.strerror(errno.ENOSPC) in str(error):  # as libraries that raise errors of their own put it
            typer.echo(f"medloom: {error}; make room and give the same command again", err=True)
            sys.exit(2)
        if isinstance(error, Broken):
            typer.echo(f"medloom: {error}", err=True)
        else:
            import traceback

            traceback.print_exc()
        typer.echo("medloom: failed inside; what was finished is kept, and the same command goes on from there", err=True)
        sys.exit(3)
