"""How a conversation becomes the text that the model goes on from.

A model that carries a chat template in its file gets that one, laid on by the engine. One without is a base model, which
knows no turns; it gets the plain form below, which is shown on the page and in /v1/models. Wrong forms are the commonest
reason for a model that repeats the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict


class Turn(TypedDict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


PLAIN_NAME = "question-answer"
PLAIN_FORM = "Question: {question}\n\nThe answer is:"
PLAIN_STOPS = ("\nQuestion:", "\n\n")


def plain(turns: Sequence[Turn]) -> str:
    """The conversation in the plain form: system text first, every question and answer in turn, the last answer left open."""
    parts = []
    for turn in turns:
        text = turn["content"].strip()
        if turn["role"] == "system":
            parts.append(text)
        elif turn["role"] == "user":
            parts.append(f"Question: {text}")
        else:
            parts.append(f"The answer is: {text}")
    return "\n\n".join([*parts, "The answer is:"])
