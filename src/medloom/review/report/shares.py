"""A mean of shares between 0 and 1 whose votes come in clusters: raters who judge the same question judge the same two texts."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ...numbers import Z95, wilson


@dataclass(frozen=True)
class Share:
    """The mean of n shares with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def share(values: Sequence[float], clusters: Sequence[Hashable], z: float = Z95) -> Share | None:
    """The mean and Wilson's interval, 95 % by default, at the effective number of votes. None without values.

    The effective number is that of independent votes with the standard error that the clusters show, at most the votes there are, less
    for few clusters; where the clusters show no spread at all, it is their number (Korn and Graubard 1998, Surv Methodol 24:193; with
    Wilson's in place of the exact interval Franco et al. 2019, J Surv Stat Methodol 7:334).
    """
    if not values:
        return None
    own = np.asarray(values, np.float64)
    mean, n = float(own.mean()), len(own)
    sums: dict[Hashable, float] = {}
    for value, cluster in zip(own, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + float(value) - mean
    count = len(sums)
    variance = sum(total * total for total in sums.values()) / n**2 * (count / (count - 1) if count > 1 else 1)
    if variance < 1e-12:
        effective = float(count)
    else:
        # A spread that few clusters tell is uncertain itself.
        effective = min(mean * (1 - mean) / variance, n) * float(stdtrit(n - 1, 0.975) / stdtrit(count - 1, 0.975)) ** 2
    low, high = wilson(mean * effective, effective, z)
    return Share(mean, low, high, n)
