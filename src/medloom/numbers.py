"""How shares and p-values are written in text, wherever they are shown."""

from __future__ import annotations


def percent(share: float | None) -> str:
    """A share of one; nothing where there is none."""
    return "" if share is None else f"{100 * share:.1f} %"


def significant(value: float | None) -> str:
    """A measurement to two digits; nothing where there is none."""
    return "" if value is None else f"{value:.2g}"


def probability(p: float | None) -> str:
    """A p-value as people write it; nothing where there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"
