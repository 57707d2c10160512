"""Finetuning examples: JSON lines in, tokens and what of them is learned out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..model import Message, Template, TokenStore, load_template, load_tokenizer


@dataclass(frozen=True)
class Example:
    """A conversation. `pair` is set where it was written as a prompt and its completion: (prompt, completion), with their spaces."""

    id: str
    messages: tuple[Message, ...]
    pair: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        """All that is said."""
        return " ".join(self.pair or (message["content"] for message in self.messages))


def read_examples(path: Path) -> list[Example]:
    """The examples of a file (JSON lines: id, and prompt and completion or messages), by id: the order of the lines does not matter.

    Raises Refusal where there is none, or a line is of another form.
    """
    found = sorted(_examples(path), key=lambda example: example.id)
    if not found:
        raise Refusal(f"{path}: no examples; finetuning needs at least one line with id, prompt and completion")
    return found


def tokenise(examples: list[Example], model: Path, template: str) -> tuple[TokenStore, Template | None]:
    """The examples as a token store in memory, in their order, written by the template of that name for the tokenizer of a model folder.

    With it the template that the finetuned model's folder is to carry: None for "plain", which is what a model without one is asked in.
    A prompt and its completion are plain text and the end token; in any other template they are what the user and the assistant say.
    Raises Refusal where the tokenizer lacks what the template writes.
    """
    tokenizer = load_tokenizer(model)
    # Pairs in plain form ask for no template, and so for no control tokens that one would write.
    chat = None if template == "plain" and all(example.pair for example in examples) else load_template(template, model)
    end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    tokens: list[NDArray[np.int32]] = []
    masks: list[NDArray[np.uint8]] = []
    for example in examples:
        if template == "plain" and example.pair is not None:
            ids, boundary = tokenizer.encode_pair(*example.pair)
            ids += end
            learned = np.arange(len(ids)) >= boundary
        else:
            assert chat is not None
            try:
                ids, learned = chat.encode(example.messages)
            except Refusal as error:
                raise Refusal(f"example {example.id}: {error}") from None
        tokens.append(np.asarray(ids, np.int32))
        masks.append(learned.astype(np.uint8))
    offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in tokens]))).astype(np.int64)
    return TokenStore(np.concatenate(tokens), offsets, np.concatenate(masks)), None if template == "plain" else chat


def _examples(path: Path) -> Iterator[Example]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    yield _example(json.loads(line))
                except (json.JSONDecodeError, KeyError, TypeError, ValueError):
                    raise Refusal(f"{path}: line {number} is not a JSON object with the texts id, prompt and completion, or id and "
                                  "messages; write it again") from None
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; write the examples first") from None


def _example(line: dict[str, object]) -> Example:
    identifier, messages = line["id"], line.get("messages")
    prompt, completion = line.get("prompt"), line.get("completion")
    if not isinstance(identifier, str):
        raise ValueError
    if isinstance(messages, list):
        return Example(identifier, tuple({"role": message["role"], "content": message["content"]} for message in messages))
    if not isinstance(prompt, str) or not isinstance(completion, str) or not completion:
        raise ValueError
    asked: Message = {"role": "user", "content": prompt}
    return Example(identifier, (asked, {"role": "assistant", "content": completion.strip()}), (prompt, completion))
