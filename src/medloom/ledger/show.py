"""The lineage of a run, drawn as a tree: what came of what, with the figures that matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from .store import Done

PLAIN_FIGURES = 4


def tree(steps: Sequence[Done]) -> list[str]:
    """Lines of text. Each step stands under the first of the steps it was made from; a step that several use is drawn once.

    A line tells the step's name, the beginning of its digest, wall seconds, and the first few figures that are plain values.
    """
    under: dict[str | None, list[Done]] = {}
    for done in steps:
        parents = (source["step"] for source in done.record["inputs"].values() if "step" in source)
        under.setdefault(next(parents, None), []).append(done)

    lines: list[str] = []

    def draw(done: Done, lead: str, branch: str, follow: str) -> None:
        lines.append(lead + branch + _line(done))
        children = under.get(done.folder.name, [])
        outside = [f"from {Path(source['path']).name}" for source in done.record["inputs"].values() if "path" in source]
        if outside:
            lines.append(lead + follow + ("│ " if children else "  ") + "· " + ", ".join(outside))
        for child in children:
            last = child is children[-1]
            draw(child, lead + follow, "└─ " if last else "├─ ", "   " if last else "│  ")

    for root in under.get(None, []):
        draw(root, "", "", "")
    return lines


def is_cost(name: str) -> bool:
    """Whether a figure of this name states time, speed, memory or energy, which no run has twice: wall_seconds, tokens_per_second, ..."""
    return name.endswith(("second", "seconds")) or name in ("memory_gb", "peak_mb", "kwh", "utilisation")


def _line(done: Done) -> str:
    record = done.record
    shown = ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in _telling(record["figures"]))
    return f"{record['name']}  {record['digest'][:12]}  {record['wall_seconds']:.1f} s" + (f"  {shown}" if shown else "")


def _telling(figures: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """The first figures that are single numbers or words; what it cost is left to the record."""
    plain = [(name, value) for name, value in figures.items() if isinstance(value, Real | str) and not isinstance(value, bool)]
    return [(name, value) for name, value in plain if not is_cost(name)][:PLAIN_FIGURES]


def _plain(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, Real) else str(value)
