"""The statistics of right and wrong answers: one score's interval, two models on the same questions, many comparisons.

Exact or in closed form, from counts alone: no resampling, no random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

Z95 = NormalDist().inv_cdf(0.975)


def wilson(correct: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a proportion, 95 % by default (Wilson 1927; method 3 of Newcombe 1998, Stat Med 17:857)."""
    if n == 0:
        return 0.0, 1.0
    share, zz = correct / n, z * z
    middle = (share + zz / (2 * n)) / (1 + zz / n)
    half = z * math.sqrt(share * (1 - share) / n + zz / (4 * n * n)) / (1 + zz / n)
    # At the ends the bound is 0 or 1 exactly; rounding would leave it a hair off.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == n else middle + half)


def paired_difference(gained: int, lost: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Tango's score interval of the difference of two proportions on the same n questions, 95 % by default.

    `gained` questions only the first model answers rightly, `lost` only the second; the difference is (gained - lost) / n.
    The bounds are those differences that the score test would just not reject (Tango 1998, Stat Med 17:891). It keeps
    its level where few questions differ, where the Wald interval does not (Newcombe 1998, Stat Med 17:2635).
    """
    if n == 0:
        return -1.0, 1.0

    def root(level: float) -> float:
        low, high = -1.0, 1.0
        while high - low > 1e-13:
            middle = (low + high) / 2
            if tango_score(gained, lost, n, middle) > level:  # falls as the difference grows
                low = middle
            else:
                high = middle
        return (low + high) / 2

    return root(z), root(-z)


def tango_score(gained: int, lost: int, n: int, difference: float) -> float:
    """The score statistic for a true difference: how many standard errors the counts lie above it."""
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    only_second = (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * only_second + difference * (1 - difference))
    distance = gained - lost - n * difference
    if variance <= 1e-300:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value that both models are equally often alone in being right (McNemar 1947, binomial form).

    Only questions that one of them answers rightly and the other wrongly carry information.
    """
    differing, fewer = gained + lost, min(gained, lost)
    if gained == lost:
        return 1.0
    term = tail = 1
    for k in range(fewer):
        term = term * (differing - k) // (k + 1)
        tail += term
    return min(1.0, math.exp(math.log(2 * tail) - differing * math.log(2)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of one false claim among all below the level (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted
