"""What a comparison shows, in a sentence: no claim beyond the test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEVEL = 0.05


def against_chance(accuracy: float, low: float, high: float, chance: float | None, majority: float | None = None) -> str:
    """Where an accuracy lies to guessing and to always giving the commonest right answer, judged by its interval."""
    if chance is None:
        return f"{100 * accuracy:.1f} % right"
    stated = f"{100 * accuracy:.1f} % right, where guessing gives {100 * chance:.1f} %"
    if low > chance:
        if majority is None or low > majority:
            return f"{stated}: above chance"
        return f"{stated}: above chance, not shown to be above the commonest answer's {100 * majority:.1f} %"
    if high < chance:
        return f"{stated}: below chance, which is a matter of how answers are read or of a bias, not of knowledge"
    return f"{stated}: not shown to differ from chance"


def against_base(row: Mapping[str, Any]) -> str:
    """Whether the paired test shows a difference to the base, and in which direction."""
    corrected = row.get("holm_p") is not None
    p = row["holm_p"] if corrected else row.get("p_value")
    if p is None or row.get("difference") is None:
        return f"it was not compared with {row['base']}"
    told = f"p {'< 0.0001' if p < 1e-4 else f'= {p:.4f}'}{' after Holm' if corrected else ''}"
    if p >= LEVEL:
        return f"a difference to {row['base']} is not shown ({100 * row['difference']:+.1f} points, {told})"
    better = "better" if row["difference"] > 0 else "worse"
    return f"it is shown to be {better} than {row['base']} by {100 * abs(row['difference']):.1f} points ({told})"
