"""The trail of a figure: every number in the card is taken from the lineage by a key, and the key is kept beside it.

A key is `step:path`, the path leading through that step's record: `pretrain:figures/tokens`, `compare:figures/rows/0/accuracy`,
`recipe:grid/pue`. A figure that the card works out itself names its rule and what went in: `sum(a:energy/kwh, b:energy/kwh)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A number as it is printed, its value, and where it comes from."""

    name: str
    printed: str
    value: Any
    key: str
    mark: int


def part(name: str) -> str:
    """A name as one member of a path, as in JSON pointers (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


class Trail:
    """Looks numbers up in a lineage and numbers the places where they are printed."""

    def __init__(self, lineage: Mapping[str, Any]) -> None:
        self.recipe: Mapping[str, Any] = lineage.get("recipe") or {}
        self.summary: Mapping[str, Any] = lineage.get("summary") or {}
        self.steps: dict[str, Mapping[str, Any]] = {step["name"]: step for step in lineage.get("steps") or ()}
        self.figures: list[Figure] = []
        self._marks = 0

    def find(self, key: str) -> Any:
        """The value at a key; None where the lineage has none."""
        root, _, path = key.partition(":")
        value: Any = {"recipe": self.recipe, "summary": self.summary}.get(root, self.steps.get(root))
        for member in path.split("/"):
            name = member.replace("~1", "/").replace("~0", "~")
            if isinstance(value, Mapping):
                value = value.get(name)
            elif isinstance(value, Sequence) and not isinstance(value, str) and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            else:
                return None
        return value

    def new_mark(self) -> int:
        """The number of a new footnote."""
        self._marks += 1
        return self._marks

    def cite(self, name: str, key: str, style: str = "plain", mark: int = 0, value: Any = None) -> str:
        """The number at `key`, printed in `style`; with `value`, a number worked out by the rule that `key` states.

        Belongs to the footnote `mark`; 0 makes a new one and prints it beside the number. Prints a dash, uncited, for None.
        """
        found = self.find(key) if value is None else value
        if found is None:
            return "-"
        printed = show(found, style)
        own = mark or self.new_mark()
        self.figures.append(Figure(name, printed, found, key, own))
        return printed if mark else f"{printed}[^{own}]"


def show(value: Any, style: str = "plain") -> str:
    """A value in one of the card's styles: plain, percent (of a fraction), points (signed percentage points), p, megabytes, significant."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if style == "percent":
        return f"{100 * value:.1f}"
    if style == "points":
        return f"{100 * value:+.1f}"
    if style == "p":
        return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
    if style == "megabytes":
        return f"{value / 1e6:,.2f}"
    if style == "fixed":
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"
