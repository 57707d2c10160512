"""The uncertainty of one share: Wilson's interval, and the standard error where questions hang together."""

from __future__ import annotations

import math
from statistics import NormalDist

from .clusters import Clusters

Z95 = NormalDist().inv_cdf(0.975)


def wilson(correct: float, n: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a proportion, 95 % by default (Wilson 1927; method 3 of Newcombe 1998, Stat Med 17:857).

    `correct` need not be whole: where questions are asked several times it is the sum of their shares of right answers.
    """
    if n == 0:
        return 0.0, 1.0
    share, zz = correct / n, z * z
    middle = (share + zz / (2 * n)) / (1 + zz / n)
    half = z * math.sqrt(share * (1 - share) / n + zz / (4 * n * n)) / (1 + zz / n)
    # At the ends the bound is 0 or 1 exactly; rounding would leave it a hair off.
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == n else middle + half)


def clustered_error(clusters: Clusters) -> float | None:
    """The standard error of a mean whose values hang together within clusters (Miller 2024, arXiv 2411.00640); None from one cluster alone.

    With the usual factor C / (C - 1) for C clusters, so that where every value is its own cluster it is the usual one, the sample's
    standard deviation over the root of n.
    """
    count = len(clusters.sums)
    if count < 2:
        return None
    squares = float(((clusters.sums - clusters.mean * clusters.sizes) ** 2).sum())
    return math.sqrt(squares * count / (count - 1)) / float(clusters.sizes.sum())
