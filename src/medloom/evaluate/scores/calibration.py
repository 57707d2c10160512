"""Whether a model's confidence means what it says, from the log-probabilities of the options.

A question's probabilities are the softmax over its options; its confidence is the probability of the option that was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scoring import Outcome

BINS = 15
COVERAGES = (0.5, 0.8, 0.9)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies above `low` and not above `high`: how many, how confident on average, how often right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """All between 0 and 1, but `brier`, which reaches 2. `n` counts answers with log-probabilities, `without` those that have none.

    `ece` is the mean distance of confidence and accuracy over `bins`, 15 of equal width of which the filled ones are listed, weighted by
    their answers (Guo et al. 2017, arXiv 1706.04599); `adaptive_ece` the same over 15 bins of equally many answers (Nixon et al. 2019,
    arXiv 1904.01685). `brier` sums the squared distances over all options (Brier 1950). `overconfidence` is `confidence` less accuracy.

    `curve` holds (coverage, risk): answering only the most confident share of the questions, how often that is wrong; answers of equal
    confidence are taken in by their mean, so that their order does not matter. `aurc` is the mean of the risks at all coverages
    (Geifman & El-Yaniv 2017, arXiv 1705.08500), `accuracy_at` the accuracy at some.
    """

    n: int
    without: int
    accuracy: float
    confidence: float
    overconfidence: float
    ece: float
    adaptive_ece: float
    brier: float
    bins: tuple[Bin, ...]
    aurc: float
    accuracy_at: dict[str, float]
    curve: tuple[tuple[float, float], ...]

    def figures(self) -> dict[str, Any]:
        """Every field, ready for JSON."""
        return asdict(self)


def calibrate(outcomes: Sequence[Outcome], points: int = 100) -> Calibration | None:
    """The calibration of some answers, None where none has log-probabilities and a choice. The curve is given at up to `points` points."""
    known = [outcome for outcome in outcomes if outcome.logprobs is not None and outcome.choice is not None]
    if not known:
        return None
    shares = [softmax(outcome.logprobs or ()) for outcome in known]
    # Rounded, so that the same log-probabilities in another order are the same confidence.
    confidence = np.array([share[outcome.choice or 0] for share, outcome in zip(shares, known, strict=True)]).round(12)
    right = _level(confidence, np.array([outcome.right for outcome in known], np.float64))
    brier = math.fsum(float(share @ share) - 2 * share[outcome.gold] + 1 for share, outcome in zip(shares, known, strict=True))
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(known) + 1)
    risks = 1 - np.cumsum(right[order]) / answered
    kept = np.unique(np.ceil(np.linspace(1, len(known), min(points, len(known)))).astype(int)) - 1
    bins = _bins(confidence, right)
    return Calibration(
        n=len(known), without=len(outcomes) - len(known), accuracy=float(right.mean()), confidence=float(confidence.mean()),
        overconfidence=float(confidence.mean() - right.mean()),
        ece=sum(one.n * abs(one.confidence - one.accuracy) for one in bins) / len(known),
        adaptive_ece=sum(abs(float(confidence[part].sum() - right[part].sum())) for part in np.array_split(order, BINS)) / len(known),
        brier=brier / len(known), bins=bins, aurc=float(risks.mean()),
        accuracy_at={f"{share:.0%}": float(1 - risks[int(np.ceil(share * len(known) - 1e-9)) - 1]) for share in COVERAGES},
        curve=tuple((float(answered[place] / len(known)), float(risks[place])) for place in kept))


def softmax(logprobs: Sequence[float]) -> Floats:
    """Probabilities of the options, that they are the only ones taken for granted; where all are minus infinity, all alike."""
    values = np.asarray(logprobs, np.float64)
    top = values.max()
    shares = np.exp(values - top) if np.isfinite(top) else np.ones_like(values)
    return np.asarray(shares / shares.sum(), np.float64)


def _level(confidence: Floats, right: Floats) -> Floats:
    """Each answer's rightness replaced by the mean of those that are as confident."""
    _, places, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    return np.asarray((np.bincount(places, weights=right) / counts)[places], np.float64)


def _bins(confidence: Floats, right: Floats) -> tuple[Bin, ...]:
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return tuple(Bin(low=place / BINS, high=(place + 1) / BINS, n=int(inside.sum()), confidence=float(confidence[inside].mean()),
                     accuracy=float(right[inside].mean()))
                 for place in range(BINS) if (inside := places == place).any())
