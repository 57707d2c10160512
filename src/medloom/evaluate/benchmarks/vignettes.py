"""Questions that share what is read before them: their answers are not independent, and intervals must know it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .benchmark import Item

WORDS = 20
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")


def clustered(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items, those with one context or vignette named alike in `cluster`, and the others without.

    A vignette is a question but for its last sentence, of at least 20 words; where there is none, the question with its options is what
    may be shared (78 of MMLU's test stand in two subjects). Spaces and case do not count.
    """
    shared = [_shared(item) for item in items]
    often = Counter(shared)
    return tuple(replace(item, cluster=hashlib.sha256(text.encode()).hexdigest()[:12]) if often[text] > 1 else item
                 for item, text in zip(items, shared, strict=True))


def _shared(item: Item) -> str:
    if item.context is not None:
        return _folded(item.context)
    *vignette, _ = SENTENCE.split(item.question)
    text = _folded(" ".join(vignette))
    return text if len(text.split()) >= WORDS else _folded("\n".join((item.question, *sorted(item.options))))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
