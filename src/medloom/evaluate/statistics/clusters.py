"""Values that hang together: questions on one passage, the askings of one question."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Clusters:
    """For each cluster the sum of its values and how many they are; clusters are independent of each other, values within are not."""

    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The mean of all values, each with the same weight."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def alike(self) -> bool:
        """Whether every cluster has the same mean, so that they tell nothing of how much clusters differ."""
        means = self.sums / self.sizes
        return bool(np.ptp(means) < 1e-12)

    def kinds(self) -> tuple[Clusters, NDArray[np.int64]]:
        """The different clusters in a fixed order, and how often each occurs."""
        rows, counts = np.unique(np.stack([self.sums.round(12), self.sizes], axis=1), axis=0, return_counts=True)
        return Clusters(rows[:, 0], rows[:, 1]), counts


def gather(values: Sequence[float], names: Sequence[Hashable]) -> Clusters:
    """The clusters of values that carry the same name."""
    numbers: dict[Hashable, int] = {}
    places = [numbers.setdefault(name, len(numbers)) for name in names]
    return Clusters(np.bincount(places, weights=np.asarray(values, np.float64)).astype(np.float64), np.bincount(places).astype(np.float64))


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
