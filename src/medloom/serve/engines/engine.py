"""What a gateway needs of an engine, whichever it is: one request in, pieces of text out, and whether it lives."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict


class Turn(TypedDict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted of an engine.

    prompt: text, token ids, or a conversation where the engine's own chat template is to be laid on; tokens: at most this many;
    logprobs: how many of the likeliest tokens to name beside each one written, None for none at all; echo: begin with the prompt; bias:
    what is added to the logits of tokens, by their ids.
    """

    prompt: str | Sequence[int] | Sequence[Turn]
    tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    echo: bool = False
    bias: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Scored:
    """A token and its natural log-probability before any sampling, None for the first of an echoed prompt."""

    text: str
    bytes: bytes
    logprob: float | None


@dataclass(frozen=True)
class Written(Scored):
    """A token of the answer, and the likeliest ones in its place, likeliest first."""

    top: tuple[Scored, ...] = ()


@dataclass(frozen=True)
class Piece:
    """A piece of an answer. The last one has a `reason`, "stop" or "length". read, written: tokens so far, 0 where only the end tells."""

    text: str
    tokens: tuple[Written, ...] = ()
    reason: str | None = None
    read: int = 0
    written: int = 0


class Refused(Exception):
    """The engine does not take the request as it is. `field`: what is at fault, where it is known."""

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message, self.code, self.field = message, code, field


def too_long(tokens: object, context: object) -> Refused:
    """The refusal of a prompt that has more tokens than the context."""
    return Refused(f"the prompt has {tokens} tokens; the context is {context}, answer included", code="context_length_exceeded")


class Starting(Exception):
    """The engine is not there yet."""


class Busy(Exception):
    """The engine turns requests away for a while; `seconds`: how long."""

    def __init__(self, seconds: int) -> None:
        super().__init__()
        self.seconds = seconds


class Broken(Exception):
    """The engine broke off, or its answer cannot be read."""


class Unable(Exception):
    """The engine has no such thing, whatever is asked."""


def decoded(content: bytes) -> Any:
    """JSON that an engine sent. Raises Broken for what is none."""
    try:
        return json.loads(content)
    except ValueError:
        raise Broken("the engine's answer cannot be read") from None


class Engine(Protocol):
    """One model that answers.

    slots: answers it computes at once; context: tokens of a prompt and its answer together, None where it is not known; restarts: how
    often it had to be started again; told: how many of the likeliest tokens it names in place of one at most. All but `start` and `stop`
    belong to one event loop. `stream`, `whole`, `embed` and `rendered` raise Refused, Starting, Busy, Broken and Unable.
    """

    kind: str
    slots: int
    context: int | None
    embeds: bool
    restarts: int
    told: int

    @property
    def control(self) -> tuple[str, ...]:
        """Texts that it reads as control tokens in a prompt, as far as they are known."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it takes requests now."""
        ...

    def start(self) -> None:
        """Start it, or reach it, and wait until it is ready. Raises ledger.Refusal where that cannot be."""
        ...

    async def supervise(self) -> None:
        """Keep it alive; runs until cancelled."""
        ...

    def stop(self) -> None:
        """End what was started; harmless where nothing was."""
        ...

    def stream(self, ask: Ask) -> AsyncGenerator[list[Piece], None]:
        """The answer as it is written: with each item the pieces that have come since the one before."""
        ...

    async def whole(self, ask: Ask) -> Piece:
        """The answer in one piece."""
        ...

    async def rendered(self, turns: Sequence[Turn]) -> str:
        """A conversation as the chat template of its own makes it."""
        ...

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """A vector for each text, and the tokens read."""
        ...
