"""Two models on the same questions, from the counts of those that one of them alone answers rightly."""

from __future__ import annotations

import math
from statistics import NormalDist

from ...numbers import Z95

Z80 = NormalDist().inv_cdf(0.8)


def paired_difference(gained: float, lost: float, n: int, z: float = Z95) -> tuple[float, float]:
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


def tango_score(gained: float, lost: float, n: int, difference: float) -> float:
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


def detectable(squares: float, n: int) -> float:
    """The smallest true difference that a two-sided test at 5 % finds four times in five, given how much the models disagree.

    `squares` is the sum over clusters of the squared difference in right answers; where every question stands alone it is the number of
    questions that one model alone answers rightly, and the result (z.975 + z.8) sqrt(share of those / n) (Miller 2024,
    arXiv 2411.00640).
    """
    return (Z95 + Z80) * math.sqrt(squares) / n
