"""Krippendorff's alpha: how far raters agree beyond chance, 1 for always, 0 for as often as if they drew from one urn.

K. Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", https://repository.upenn.edu/asc_papers/43. The well-known Python
package for it is under the GPL, which ours cannot take in; it is one page, and tested against his own worked example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["nominal", "ordinal", "interval"]
Floats = NDArray[np.float64]
DRAWS = 2000


def alpha(units: Sequence[Sequence[int]], level: Level) -> float | None:
    """Alpha of units, each the whole-number values that its raters gave it; who gave which does not matter, and values may be missing.

    None where no unit has two values. Where all values are the same there is no disagreement to speak of and no chance to hold it against:
    None too.
    """
    counts, values = _counted(units)
    return _alpha(counts, values, level)


def interval(units: Sequence[Sequence[int]], level: Level, *, seed: int = 0, draws: int = DRAWS) -> tuple[float, float] | None:
    """The 95 % percentile interval of alpha by drawing units anew (Zapf et al. 2016, BMC Med Res Methodol 16:93); None without alpha.

    Draws in which all values are the same have no alpha and count as agreement, 1.
    """
    counts, values = _counted(units)
    if _alpha(counts, values, level) is None:
        return None
    draw = np.random.default_rng(seed)
    found = [_alpha(counts[draw.integers(0, len(counts), len(counts))], values, level) for _ in range(draws)]
    low, high = np.quantile([1.0 if one is None else one for one in found], (0.025, 0.975))
    return float(low), float(high)


def _counted(units: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
    """How often each unit with two values or more was given each value, [units, values], and the values, in order."""
    paired = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in paired for value in unit})
    place: Mapping[int, int] = {value: number for number, value in enumerate(values)}
    counts = np.zeros((len(paired), len(values)))
    for row, unit in zip(counts, paired, strict=True):
        for value in unit:
            row[place[value]] += 1
    return counts, np.asarray(values, np.float64)


def _alpha(counts: Floats, values: Floats, level: Level) -> float | None:
    if not len(counts):
        return None
    raters = counts.sum(1)
    # Coincidences: in a unit of m values each ordered pair of two raters weighs 1 / (m - 1).
    weighed = counts / (raters - 1)[:, None]
    coincidences = weighed.T @ counts - np.diag(weighed.sum(0))
    totals = coincidences.sum(1)
    distances = _distances(totals, values, level)
    by_chance = float((np.outer(totals, totals) * distances).sum()) / (totals.sum() - 1)
    return None if by_chance == 0 else 1 - float((coincidences * distances).sum()) / by_chance


def _distances(totals: Floats, values: Floats, level: Level) -> Floats:
    """The squared difference of every two values; of ordinal ones by how many values lie between, each end counted half."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    at = values if level == "interval" else np.cumsum(totals) - totals / 2
    squared: Floats = (at[:, None] - at[None, :]) ** 2
    return squared
