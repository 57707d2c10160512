"""A score apart for the questions that the model had read in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...passport.contamination import CONTAMINATED
from .scoring import Outcome, score_outcomes


def split_by_contamination(outcomes: Sequence[Outcome], rows: Iterable[Mapping[str, Any]], threshold: float = CONTAMINATED
                           ) -> dict[str, Any]:
    """The scores of the clean, the contaminated and the untested questions, each None where there are none of them.

    `rows` are a passport's (`passport.Contamination.rows`): the `id` of a tested question and the `share` of its own n-grams that were
    read; from `threshold` on it counts as contaminated. `gain` is the accuracy on all questions less that on the clean ones: what
    contamination may have added; None where no question is clean.
    """
    read = {str(row["id"]): float(row["share"]) >= threshold for row in rows}
    parts: dict[bool | None, list[Outcome]] = {False: [], True: [], None: []}
    for outcome in outcomes:
        parts[read.get(outcome.id)].append(outcome)
    scores = {part: score_outcomes(members) if members else None for part, members in parts.items()}
    clean = scores[False]
    return {
        "threshold": threshold,
        **{name: found.figures() if found else None
           for name, found in (("clean", clean), ("contaminated", scores[True]), ("untested", scores[None]))},
        "gain": score_outcomes(outcomes).accuracy - clean.accuracy if clean else None,
    }
