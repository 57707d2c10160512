"""`medloom chat`: questions in the terminal, or from a pipe, answered as they are written."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx

from medloom.notice import NOTICE

from .engine import Engine, describe
from .template import PLAIN_STOPS, Turn, plain

LARGEST_CONTEXT = 4096


def chat(model: Path, *, threads: int | None = None, context: int | None = None, temperature: float = 0.0,
         max_tokens: int = 256) -> None:
    """Talk with the GGUF file `model`: a question a line, answers on standard output, all else on standard error.

    A model without a chat template answers every question by itself, in the plain form; one with a template remembers the
    conversation, and drops its oldest turns when the context is full. Ctrl-C stops an answer; at the prompt it leaves, as
    does Ctrl-D. Raises Refusal for a model that cannot be loaded.
    """
    said = describe(Path(model))
    engine = Engine(Path(model), context=min(context or LARGEST_CONTEXT, said["context"]), slots=1, threads=threads)
    interactive = sys.stdin.isatty()
    _say(f"{NOTICE}\n\n")
    turns: list[Turn] = []
    try:
        engine.start()
        if interactive:
            _say(f"{said['name']}: ask, or press Ctrl-D to leave.\n")
        while True:
            try:
                question = _question(interactive)
            except (EOFError, KeyboardInterrupt):
                break
            if not question:
                continue
            turns.append({"role": "user", "content": question})
            text = ""
            try:
                for piece in _answer(engine, turns, bool(said["chat_template"]), temperature, max_tokens):
                    sys.stdout.write(piece)
                    sys.stdout.flush()
                    text += piece
            except KeyboardInterrupt:
                _say(" [stopped]")
            sys.stdout.write("\n")
            sys.stdout.flush()
            if said["chat_template"] and text:
                turns.append({"role": "assistant", "content": text})
            else:
                turns.clear()
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # who read the answers has gone
        sys.stdout = None  # or Python would complain once more on its way out
    finally:
        engine.stop()
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


def _answer(engine: Engine, turns: list[Turn], has_template: bool, temperature: float, max_tokens: int) -> Iterator[str]:
    with httpx.Client(base_url=engine.url, headers={"Authorization": f"Bearer {engine.key}"}, timeout=None, trust_env=False) as client:
        while True:
            text = client.post("/apply-template", json={"messages": turns}).json()["prompt"] if has_template else plain(turns)
            body = {"prompt": text, "n_predict": max_tokens, "temperature": temperature, "stop": [] if has_template else list(PLAIN_STOPS),
                    "stream": True, "cache_prompt": True}
            with client.stream("POST", "/completion", json=body) as response:
                if response.status_code == 200:
                    begun = has_template
                    for line in response.iter_lines():
                        if line.startswith("data: "):
                            piece = json.loads(line[6:]).get("content", "")
                            piece = piece if begun else piece.lstrip()
                            begun = begun or bool(piece)
                            if piece:
                                yield piece
                    return
            if len(turns) == 1:
                _say(f"[that is longer than the model's context of {engine.context} tokens]")
                return
            del turns[:2]


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
