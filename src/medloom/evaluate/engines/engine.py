"""What scoring asks of a model, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

Ids = Sequence[int]


@dataclass(frozen=True)
class Sampling:
    """How an answer is continued: at most `tokens`, ended by the model's end token or by the first of `stop` in the text.

    Temperature 0 is greedy, of equals the first token. `frequency_penalty` is taken off a token's logit for every time that it stands in
    the answer so far (OpenAI's definition).
    """

    tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    frequency_penalty: float = 0.0


@dataclass(frozen=True)
class Continuation:
    """What a model wrote: `text` without what stopped it, `ids` empty where an engine tells none; `ended` is false where tokens ran out."""

    text: str
    ids: tuple[int, ...]
    ended: bool


class Engine(Protocol):
    """Log-probabilities of tokens that follow a prompt, natural logarithms over the whole vocabulary, from float32 logits.

    `context` is the number of positions that a prompt and its answer may take together; `batch` how many prompts are worth
    giving at a time. In both questions the first `shared` ids of every prompt are the same and computed once. Results do
    not depend on the batch or the order, to 1e-5; the same calls in the same order give the same bits. An engine is a
    context manager that lets go of the model at its end.
    """

    context: int
    batch: int

    def identity(self) -> str:
        """A digest of the model's files, hexadecimal: answers of two models must not be mixed."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of whole prompts, opened as the model's documents are."""

    def next_token_logprobs(self, prompts: Sequence[Ids], candidates: Sequence[Ids], shared: int = 0) -> list[list[float]]:
        """For each prompt, the log-probability of each of its candidates as the next token."""

    def text_logprobs(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int = 0) -> list[list[float]]:
        """For each prompt, the log-probability of each of its continuations, summed over the continuation's tokens."""

    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        """For each prompt, one continuation for each of its seeds.

        A continuation depends on its prompt, its seed and `sampling`, not on what else is asked in the call. Greedy ones ignore the seed.
        """

    def __enter__(self) -> Engine: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
