"""The paired randomisation test: were the two models alike, each cluster's difference could as well have had the other sign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np

from .bootstrap import SEED

FLIPS = 100_000
EXACT = 50_000_000  # additions that an exact distribution may take: under a second


def sign_flip(differences: Sequence[Fraction], *, exact: int = EXACT, flips: int = FLIPS, seed: int = SEED) -> float:
    """Two-sided p-value that every difference is symmetric around nothing: how often random signs give a sum as far from zero.

    `differences` holds one sum for each cluster. The distribution of the sum is worked out exactly where that takes at most `exact`
    additions, else from `flips` seeded draws, and then as (hits + 1) / (flips + 1), which keeps the level (Phipson & Smyth 2010,
    Stat Appl Genet Mol Biol 9:39). With differences of one only it is McNemar's exact test.
    """
    telling = [difference for difference in differences if difference]
    scale = lcm(1, *(difference.denominator for difference in telling))
    whole = [int(difference * scale) for difference in telling]
    observed, sizes = abs(sum(whole)), Counter(map(abs, whole))
    if observed == 0:
        return 1.0
    reach = sum(size * count for size, count in sizes.items())
    if (2 * reach + 1) * len(whole) <= exact:
        return _enumerated(sizes, reach, observed)
    random = np.random.default_rng(seed)
    sums = np.zeros(flips)
    for size, count in sorted(sizes.items()):
        sums += size * (2.0 * random.binomial(count, 0.5, size=flips) - count)
    return (int(np.sum(np.abs(sums) >= observed)) + 1) / (flips + 1)


def _enumerated(sizes: Counter[int], reach: int, observed: int) -> float:
    """The share of all sign patterns whose sum is at least as far from zero, built up one difference at a time."""
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0  # the sum 0 stands in the middle
    for size, count in sizes.items():
        for _ in range(count):
            half = chances / 2
            chances = np.zeros_like(half)
            chances[size:] += half[:-size]
            chances[:-size] += half[size:]
    return min(1.0, float(2 * chances[reach + observed:].sum()))
