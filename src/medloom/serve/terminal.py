"""`medloom chat`: questions in the terminal, or from a pipe, answered as they are written."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextlib import aclosing
from pathlib import Path

from medloom.notice import NOTICE

from .engines import Ask, Broken, Refused, Starting, Turn
from .models import Model
from .offers import Offer, Settings, open_models
from .templates import Trimmed


def chat(model: Path, *, threads: int | None = None, context: int | None = None, temperature: float = 0.0,
         max_tokens: int = 256, template: str | None = None) -> None:
    """Talk with the GGUF file `model`: a question a line, answers on standard output, all else on standard error.

    A model without a chat template answers every question by itself, in the plain form; one with a template, its own or `template`,
    remembers the conversation, and drops its oldest turns when the context is full. Ctrl-C stops an answer; at the prompt it leaves, as
    does Ctrl-D. Raises Refusal for a model that cannot be loaded.
    """
    (served,) = open_models([Offer(model.stem, model, template=template)], Settings(context=context, slots=1, threads=threads))
    interactive = sys.stdin.isatty()
    _say(f"{NOTICE}\n\n")
    turns: list[Turn] = []
    try:
        served.engine.start()
        if interactive:
            _say(f"{served.facts['name']}: ask, or press Ctrl-D to leave.\n")
        with asyncio.Runner() as runner:
            while True:
                try:
                    question = _question(interactive)
                except (EOFError, KeyboardInterrupt):
                    break
                if not question:
                    continue
                turns.append({"role": "user", "content": question})
                text: str | None = None
                with contextlib.suppress(KeyboardInterrupt):  # it stopped an answer
                    while text is None:
                        text = runner.run(_answer(served, turns, temperature, max_tokens))
                sys.stdout.write("\n")
                sys.stdout.flush()
                if served.template.turns and text:
                    turns.append({"role": "assistant", "content": text})
                else:
                    turns.clear()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # who read the answers has gone
        sys.stdout = None  # or Python would complain once more on its way out
    finally:
        served.engine.stop()
    if interactive:
        _say("\n")


def _question(interactive: bool) -> str:
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  gives input() its history and arrow keys
        _say("\n> ")
        return input().strip()
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.encode("utf-8", "replace").decode().strip()  # what was not UTF-8 came in as half characters


async def _answer(model: Model, turns: list[Turn], temperature: float, max_tokens: int) -> str | None:
    """Write the answer as it comes, and return it; None, and older turns dropped, while the conversation is longer than the context."""
    text, trimmed = "", Trimmed() if model.template.trim else None
    ask = Ask(model.prompt(turns), max_tokens, temperature, stop=model.template.stop)
    try:
        async with aclosing(model.engine.stream(ask)) as batches:
            async for pieces in batches:
                for piece in pieces if trimmed is None else map(trimmed, pieces):
                    sys.stdout.write(piece.text)
                    sys.stdout.flush()
                    text += piece.text
    except asyncio.CancelledError:
        _say(" [stopped]")
    except Refused as refused:
        if len(turns) > 1:
            del turns[:2]
            return None
        _say(f"[{refused.message}]")
    except (Broken, Starting):
        _say("[the engine failed; start again]")
    return text


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
