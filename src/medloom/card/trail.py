"""The trail of a figure: every number in the card is taken from the lineage by a key, and the key is kept beside it.

A key is `step:path`, the path leading through that step's record: `pretrain:figures/tokens`, `compare:figures/rows/0/accuracy`,
`recipe:grid/pue`; a step named `*` stands for all that have the path. A figure that the card works out itself has a rule for its key, which
names what went in: `difference(a:figures/x, b:figures/x)`, `sum(*:energy/kwh)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..numbers import wilson

OPEN, CLOSE = "\ue000", "\ue001"  # around a figure's place in the trail, in text that is not yet written out
_RULE = re.compile(r"([a-z_]+)\((.*)\)")
RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "product": math.prod,
    "difference": lambda values: values[0] - values[1],
    "wilson_low": lambda values: wilson(values[0] * values[1], int(values[1]))[0],
    "wilson_high": lambda values: wilson(values[0] * values[1], int(values[1]))[1],
}


@dataclass(frozen=True)
class Figure:
    """A number as it is printed, its value, and where it comes from."""

    name: str
    printed: str
    value: Any
    key: str
    mark: int
    alone: bool  # whether it bears its footnote itself, or stands in a row that does


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
        """The value at a key, or of a rule; None where the lineage has none, or lacks any that the rule needs."""
        rule = _RULE.fullmatch(key)
        if rule is None:
            return self._at(key)
        values = [value for argument in _arguments(rule[2]) for value in self._each(argument)]
        return RULES[rule[1]](values) if values and None not in values else None

    def _each(self, key: str) -> list[Any]:
        root, _, path = key.partition(":")
        if root != "*":
            return [self.find(key)]
        return [value for name in self.steps if (value := self._at(f"{name}:{path}")) is not None]

    def _at(self, key: str) -> Any:
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

    def cite(self, name: str, key: str, style: str = "plain", mark: int = 0) -> str:
        """The figure at `key`, to be printed in `style`: a token that `prose` writes out. A dash, uncited, where the lineage has none.

        Belongs to the footnote `mark`; 0 makes a new one and prints it beside the figure.
        """
        found = self.find(key)
        if found is None:
            return "-"
        figure = Figure(name, show(found, style), found, key, mark or self.new_mark(), not mark)
        if figure not in self.figures:
            self.figures.append(figure)
        return f"{OPEN}{self.figures.index(figure)}{CLOSE}"


def _arguments(text: str) -> Iterator[str]:
    """The arguments of a rule, which may be rules."""
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield text[start:place].strip()
            start = place + 1
    yield text[start:].strip()


def show(value: Any, style: str = "plain") -> str:
    """A value in one of the card's styles: plain, percent (of a fraction), points (signed percentage points), p, megabytes (of bytes),
    thousandths (kilograms of grams), fixed (four decimals)."""
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
    if style == "thousandths":
        return f"{value / 1000:.4g}"
    if style == "fixed":
        return f"{value:.4f}"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}"
