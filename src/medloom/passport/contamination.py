"""How much of a benchmark a model has read, told from its passport alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ..numbers import wilson
from .ngrams import ngrams, word_numbers
from .questions import Question
from .sketch import Sketch, sampled

CONTAMINATED = 0.8  # share of a question's own n-grams that were read; the corpus is decontaminated at the same


@dataclass(frozen=True)
class Contamination:
    """What a passport says of a benchmark.

    Of `ngrams` sampled n-grams that stand in one question only, `found` were read; `low` to `high` is the 95 % Wilson interval of that
    share over all n-grams of the benchmark. `tested` questions have a sampled n-gram of their own; of `contaminated` ones at least
    CONTAMINATED of them were read. `rows` holds each tested question: id, ngrams, found, share.
    """

    questions: int
    tested: int
    ngrams: int
    found: int
    share: float | None
    low: float | None
    high: float | None
    contaminated: int
    false_positive_rate: float
    sampling: int
    n: int
    rows: list[dict[str, Any]]


def contamination(sketch: Sketch, questions: Sequence[Question]) -> Contamination:
    """Test the questions of a benchmark against a passport.

    An n-gram that stands in two questions or more says nothing of either ("which of the following is the most likely") and is left out.
    """
    numbers, offsets = word_numbers([question.text for question in questions])
    grams, ends = ngrams(numbers, offsets, sketch.n)
    own = [sampled(grams[start:stop], sketch.sampling) for start, stop in pairwise(ends)]
    values, counts = np.unique(np.concatenate([*own, np.zeros(0, np.uint64)]), return_counts=True)
    common = values[counts > 1]
    rows: list[dict[str, Any]] = []
    for question, mine in zip(questions, own, strict=True):
        mine = mine[~np.isin(mine, common)]
        if len(mine):
            found = int(sketch.holds(mine).sum())
            rows.append({"id": question.id, "ngrams": len(mine), "found": found, "share": found / len(mine)})
    total, found = sum(row["ngrams"] for row in rows), sum(row["found"] for row in rows)
    low, high = wilson(found, total) if total else (None, None)
    return Contamination(
        questions=len(questions), tested=len(rows), ngrams=total, found=found, share=found / total if total else None, low=low, high=high,
        contaminated=sum(row["share"] >= CONTAMINATED for row in rows), false_positive_rate=sketch.false_positive_rate,
        sampling=sketch.sampling, n=sketch.n, rows=rows)
