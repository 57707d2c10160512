"""How sure a model is of each of a question's options, and whether that suffices for an answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

GRID = 1e-6  # confidences and thresholds are multiples of it: what is shown is what was compared
PLACES = 6


@dataclass(frozen=True)
class Decision:
    """What a model would answer, how sure it is, and whether it abstains: where its confidence is below the threshold."""

    options: tuple[str, ...]
    answer: str
    confidence: float
    threshold: float
    abstained: bool

    def figures(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return {**asdict(self), "options": list(self.options)}


def chances(top: Mapping[str, float], labels: Sequence[str]) -> dict[str, float]:
    """The probability of each label, of those that the answer must be one of, from log-probabilities of the likeliest next tokens by text.

    A label's tokens are those that read the same without white space and brackets around them and without "." or ":" at the end; words in
    any case, letters only in their own, since " a" is more often the article. A label without such a token gets the most that a
    token can have that is not listed, the smallest listed probability or what the listed ones leave: none at all would make another
    label certain. Where nothing is known of any, all are alike.
    """
    listed = {text: math.exp(value) for text, value in top.items() if not math.isnan(value)}
    floor = max(0.0, min(*listed.values(), 1 - math.fsum(listed.values()))) if listed else 0.0
    sums: dict[str, list[float]] = {label: [] for label in labels}
    named = {_folded(label): label for label in labels}
    for text, probability in listed.items():
        label = named.get(_folded(text.strip().strip("()[]*").rstrip(".:").rstrip(")]*")))
        if label is not None:
            sums[label].append(probability)
    found = {label: math.fsum(values) if values else floor for label, values in sums.items()}
    total = math.fsum(found.values())
    return {label: value / total if total > 0 else 1 / len(found) for label, value in found.items()}


def decide(shares: Mapping[str, float], threshold: float) -> Decision:
    """The likeliest label, the first of equals, held against a threshold. shares: as `chances` gives them."""
    answer = max(shares, key=lambda label: shares[label])
    confidence = round(shares[answer], PLACES)
    return Decision(tuple(shares), answer, confidence, threshold, confidence < threshold)


def abstention(decision: Decision) -> str:
    """What is said instead of an answer."""
    places = next((places for places in range(2, PLACES) if round(decision.confidence, places) < round(decision.threshold, places)), PLACES)
    return (f"This model abstains from answering: its confidence in its likeliest answer is {decision.confidence:.{places}f}, below the "
            f"threshold of {decision.threshold:.{places}f} that was set for it. Please ask a qualified person.")


def _folded(text: str) -> str:
    return text if len(text) == 1 else text.casefold()
