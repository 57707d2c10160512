"""The interval that drawing the clusters again gives."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .clusters import Clusters

RESAMPLES = 10_000
SEED = 20241101


def bootstrap(clusters: Clusters, *, resamples: int = RESAMPLES, seed: int = SEED, level: float = 0.95, corrected: bool = True
              ) -> tuple[float, float]:
    """The interval of the mean over values when whole clusters are drawn with replacement, as many as there are.

    `corrected` gives the bias-corrected and accelerated interval (Efron 1987, J Am Stat Assoc 82:171), else the percentiles. Depends on
    the clusters and the seed alone, not on their order. Where all clusters are alike both bounds are their mean.

    Clusters that are equal in sum and size are exchangeable, so one multinomial draw of how often each kind comes stands for a whole
    resample: 10,000 resamples of thousands of questions take milliseconds.
    """
    if clusters.alike:
        return clusters.mean, clusters.mean
    kinds, counts = clusters.kinds()
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=resamples)
    means = (drawn @ kinds.sums) / (drawn @ kinds.sizes)
    tails = [(1 - level) / 2, (1 + level) / 2]
    if corrected:
        normal, acceleration = NormalDist(), _acceleration(kinds, counts)
        below = float(np.sum(means < clusters.mean - 1e-12) + np.sum(means <= clusters.mean + 1e-12)) / (2 * resamples)
        bias = normal.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
        sides = [bias + normal.inv_cdf(tail) for tail in tails]
        tails = [normal.cdf(bias + side / (1 - acceleration * side)) for side in sides]
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def _acceleration(kinds: Clusters, counts: NDArray[np.int64]) -> float:
    """Efron's acceleration from leaving out each cluster once."""
    left_sizes = counts @ kinds.sizes - kinds.sizes
    if np.any(left_sizes <= 0):
        return 0.0
    left_out = (counts @ kinds.sums - kinds.sums) / left_sizes
    away = (counts @ left_out) / counts.sum() - left_out
    squares = float(counts @ away**2)
    return float(counts @ away**3) / (6 * squares**1.5) if squares > 0 else 0.0
