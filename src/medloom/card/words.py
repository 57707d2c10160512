"""What a comparison shows, in a sentence: no claim beyond the test. `cite(field, style)` prints a field of the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .prose import said

LEVEL = 0.05
Cite = Callable[[str, str], str]


def against_chance(row: Mapping[str, Any], low: float, high: float, cite: Cite) -> str:
    """Where an accuracy lies to guessing and to always giving the commonest right answer, judged by its interval."""
    chance, majority = row.get("chance"), row.get("majority")
    right = f"{cite('accuracy', 'percent')} % right"
    if chance is None:
        return right
    stated = f"{right}, where guessing gives {cite('chance', 'percent')} %"
    if low > chance:
        if majority is None or low > majority:
            return f"{stated}: above chance"
        return f"{stated}: above chance, not shown to be above the commonest answer's {cite('majority', 'percent')} %"
    if high < chance:
        return f"{stated}: below chance, which is a matter of how answers are read or of a bias, not of knowledge"
    return f"{stated}: not shown to differ from chance"


def against_base(row: Mapping[str, Any], cite: Cite) -> str:
    """Whether the paired test shows a difference to the base, and in which direction."""
    key = "holm_p" if row.get("holm_p") is not None else "p_value"
    p, base = row.get(key), said(row["base"])
    if p is None or row.get("difference") is None:
        return f"it was not compared with {base}"
    told = f"{cite('difference', 'points')} points, p {cite(key, 'p')}{' after Holm' if key == 'holm_p' else ''}"
    if p >= LEVEL:
        return f"a difference to {base} is not shown ({told})"
    return f"it is shown to be {'better' if row['difference'] > 0 else 'worse'} than {base} ({told})"
