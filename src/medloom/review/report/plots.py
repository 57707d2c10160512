"""The plots of the report as SVG that stands in the page: places in percent of the width there is, text in the size of the page's own.

Colours come from the page's style by class. Every plot says what it shows in its title and all of its numbers in its description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

ROW, AXIS, INSET = 40, 22, 0.03  # pixels of a row and of the axis; share of the width left free at both ends


@dataclass(frozen=True)
class Dot:
    """A value with its interval, its name and what is written at its right; None draws the words alone."""

    label: str
    told: str
    value: float | None
    low: float | None
    high: float | None
    colour: str


def dots(ident: str, title: str, rows: Sequence[Dot], ends: tuple[float, float], ticks: Sequence[tuple[float, str]],
         middle: float | None = None) -> str:
    """Rows of values with intervals on one axis; `middle` is told apart from the other ticks."""
    def place(value: float) -> str:
        share = (min(max(value, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
        return f"{INSET + (1 - 2 * INSET) * share:.3%}"

    foot = ROW * len(rows)
    marks = [f'<line class="{"zero" if value == middle else "grid"}" x1="{place(value)}" x2="{place(value)}" y1="0" y2="{foot}"/>'
             f'<text class="tick" x="{place(value)}" y="{foot + 15}" text-anchor="middle">{escape(name)}</text>' for value, name in ticks]
    for number, row in enumerate(rows):
        top, at = ROW * number, ROW * number + 27
        marks.append(f'<text x="0" y="{top + 14}">{escape(row.label)}</text>'
                     f'<text class="strong" x="100%" y="{top + 14}" text-anchor="end">{escape(row.told)}</text>')
        if row.value is not None and row.low is not None and row.high is not None:
            marks.append(f'<line class="reach {row.colour}" x1="{place(row.low)}" x2="{place(row.high)}" y1="{at}" y2="{at}"/>'
                         f'<circle class="{row.colour}" cx="{place(row.value)}" cy="{at}" r="5.5"/>')
    return _svg(ident, title, "; ".join(f"{row.label}: {row.told}" for row in rows), foot + AXIS, marks)


def scales(ident: str, title: str, options: Sequence[str], rows: Sequence[tuple[str, str, Sequence[int]]]) -> str:
    """For each (name, what is written at its right, how often each option was chosen) one full bar, cut by options from worst to best."""
    marks, told = [], []
    for number, (label, words, counts) in enumerate(rows):
        top, whole, left = ROW * number, sum(counts), 0.0
        marks.append(f'<text x="0" y="{top + 14}">{escape(label)}</text>'
                     f'<text class="strong" x="100%" y="{top + 14}" text-anchor="end">{escape(words)}</text>')
        for place, count in enumerate(counts):
            if count:
                wide = count / whole
                marks.append(f'<rect class="{shade(place, len(options))}" x="{left:.3%}" width="{wide:.3%}" y="{top + 19}" height="14">'
                             f"<title>{escape(options[place])}: {count}</title></rect>")
                left += wide
        told.append(f"{label}, {words}: " + ", ".join(f"{options[place]} {count}" for place, count in enumerate(counts)))
    return _svg(ident, title, "; ".join(told), ROW * len(rows), marks)


def shade(place: int, options: int) -> str:
    """The class of an option's colour, s0 (worst) to s6 (best)."""
    return f"s{round(6 * place / (options - 1))}"


def _svg(ident: str, title: str, description: str, height: int, marks: Iterable[str]) -> str:
    return (f'<svg role="img" aria-labelledby="{ident}-t {ident}-d" width="100%" height="{height}">'
            f'<title id="{ident}-t">{escape(title)}</title><desc id="{ident}-d">{escape(description)}</desc>{"".join(marks)}</svg>')
