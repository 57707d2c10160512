"""A share of one: how far it may lie from the truth, and how it and p-values are written in text, wherever they are shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Z95 = 1.9599639845400536  # the standard normal's quantile at 0.975: two-sided 95 %


def percent(share: float | None) -> str:
    """A share of one; nothing where there is none."""
    return "" if share is None else f"{100 * share:.1f} %"


def significant(value: float | None) -> str:
    """A measurement to two digits; nothing where there is none."""
    return "" if value is None else f"{value:.2g}"


def change(row: Mapping[str, Any]) -> str:
    """A paired difference of shares and its interval, in points: `difference`, `low` and `high` of a row."""
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"


def probability(p: float | None) -> str:
    """A p-value as people write it; nothing where there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def wilson(correct: float, n: float, z: float = Z95) -> tuple[float, float]:
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
