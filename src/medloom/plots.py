"""The plots of a report as SVG that stands in the page: places in percent of the width there is, text in the size of the page's own.

Colours come from the page's style by class (`m-0` and so on for the models), so that light, dark and paper each have theirs. Every plot
says what it shows in its title and all of its numbers in its description.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

ROW, HEAD, FOOT, GAP = 36, 26, 20, 8  # pixels of a row (a line of text and its track), of a heading, of the axis, between parts
LINE, NARROW = 16, 48  # pixels of a line of text, characters that fit into it on a small phone
INSET = 0.03  # of the width, left and right of the plotted range, so that what stands at its ends is seen whole
SIDE = 300  # pixels of a chart with two axes
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Axis:
    """What a width stands for: the values at its ends and those that are written below it."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value lies between the left edge (0) and the right one (1)."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return INSET + (1 - 2 * INSET) * share


@dataclass(frozen=True)
class Bar:
    """One row: its name, what is written at its right, its value with an interval where there is one, and what else is marked.

    `since` is where a value came from, drawn as a line to it; `marks` are upright lines, the first full, the others dashed, `faint` hollow
    markers, `dots` small points, each with what it stands for.
    """

    label: str
    told: str
    value: float | None
    colour: str
    interval: tuple[float, float] | None = None
    since: float | None = None
    filled: bool = False
    marks: tuple[tuple[float, str], ...] = ()
    faint: tuple[tuple[float, str], ...] = ()
    dots: tuple[tuple[float, str], ...] = ()


SHARES = Axis(0, 1, tuple((tick, f"{100 * tick:.0f} %") for tick in TICKS))


def symmetric(reach: float) -> Axis:
    """An axis of percentage points around nothing that holds differences up to `reach`, a share."""
    step = next(size for size in (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0) if size * 2 >= min(reach, 1.0))
    ends = step * max(1, math.ceil(reach / step - 1e-9))
    count = round(ends / step)
    ticks = tuple((number * step, f"{100 * number * step:+.0f}".replace("-", "\N{MINUS SIGN}") if number else "0")
                  for number in range(-count, count + 1))
    return Axis(-ends, ends, ticks)


def reaching(high: float) -> Axis:
    """An axis from nothing to a round value that is `high` or a little above."""
    unit = 10.0 ** math.floor(math.log10(high)) if high > 0 else 1.0
    top = next(unit * size for size in (1, 2, 4, 5, 10) if unit * size >= high)
    return Axis(0, top, tuple((top * tick, f"{top * tick:g}") for tick in TICKS))


def rows(ident: str, title: str, parts: Iterable[tuple[str, Axis, Sequence[Bar]]], zero: bool = False) -> str:
    """Rows under each other, in parts that each have a heading and an axis; parts that
    follow each other on the same axis share its numbers, and with `zero` nothing is told apart from the other values."""
    marks, told, top = [], [], 0.0
    parts = list(parts)
    for place, (heading, axis, bars) in enumerate(parts):
        if heading:
            marks.append(f'<text class="strong" x="0" y="{top + 17:g}">{escape(heading)}</text>')
            told.append(heading)
            top += HEAD
        start = top
        for bar in bars:
            apart = LINE if len(bar.label) + len(bar.told) > NARROW else 0
            marks.append(f'<text x="0" y="{top + 13:g}">{escape(bar.label)}</text>'
                         f'<text class="strong" x="100%" y="{top + apart + 13:g}" text-anchor="end">{escape(bar.told)}</text>')
            marks += _bar(bar, axis, top + apart + 25)
            told.append(f"{bar.label}: {bar.told}")
            top += ROW + apart
        lines = [f'<line class="{"zero" if zero and not value else "grid"}" x1="{axis.place(value):.3%}" x2="{axis.place(value):.3%}" '
                 f'y1="{start:g}" y2="{top:g}"/>' for value, _ in axis.ticks]
        marks = [*lines, *marks]  # under everything else
        if place + 1 == len(parts) or parts[place + 1][1] != axis:
            marks += [f'<text class="tick" x="{axis.place(value):.3%}" y="{top + 14:g}" text-anchor="middle">{escape(name)}</text>'
                      for value, name in axis.ticks]
            top += FOOT
        top += GAP
    return _svg(ident, title, "; ".join(told), f'width="100%" height="{top:g}"', marks)


def _bar(bar: Bar, axis: Axis, middle: float) -> Iterator[str]:
    yield f'<rect class="track" x="0" width="100%" y="{middle - 1:g}" height="2"/>'
    for number, (value, name) in enumerate(bar.marks):
        kind, at = "mark dashed" if number else "mark", f"{axis.place(value):.3%}"
        yield f'<line class="{kind}" x1="{at}" x2="{at}" y1="{middle - 6:g}" y2="{middle + 6:g}"><title>{escape(name)}</title></line>'
    for value, name in bar.faint:
        yield (f'<circle class="faint" cx="{axis.place(value):.3%}" cy="{middle:g}" r="4"><title>{escape(name)}</title></circle>')
    yield from _value(bar, axis, middle)


def _value(bar: Bar, axis: Axis, middle: float) -> Iterator[str]:
    if bar.value is None:
        return
    at = axis.place(bar.value)
    if bar.filled:
        yield (f'<rect class="{bar.colour}" x="{axis.place(axis.low):.3%}" width="{at - axis.place(axis.low):.3%}" y="{middle - 5:g}" '
               f'height="10"/>')
    if bar.since is not None:
        yield (f'<line class="line {bar.colour}" x1="{axis.place(bar.since):.3%}" x2="{at:.3%}" y1="{middle:g}" y2="{middle:g}"/>'
               f'<circle class="hollow {bar.colour}" cx="{axis.place(bar.since):.3%}" cy="{middle:g}" r="4.5"/>')
    if bar.interval is not None:
        low, high = (axis.place(end) for end in bar.interval)
        kind = "over" if bar.filled else f"line {bar.colour}"
        yield (f'<line class="{kind}" x1="{low:.3%}" x2="{high:.3%}" y1="{middle:g}" y2="{middle:g}"/>'
               + "".join(f'<line class="{kind}" x1="{end:.3%}" x2="{end:.3%}" y1="{middle - 4:g}" y2="{middle + 4:g}"/>'
                         for end in (low, high)))
    for value, name in bar.dots:
        yield (f'<circle class="dot {bar.colour}" cx="{axis.place(value):.3%}" cy="{middle:g}" r="3.5"><title>{escape(name)}</title>'
               "</circle>")
    if not bar.filled and not bar.dots:
        yield f'<circle class="{bar.colour}" cx="{at:.3%}" cy="{middle:g}" r="5"/>'


@dataclass(frozen=True)
class Line:
    """A curve through (x, y), both between 0 and 1; `sizes`, where given, are the areas of its points, the largest 1."""

    name: str
    told: str
    points: tuple[tuple[float, float], ...]
    colour: str
    sizes: tuple[float, ...] | None = None


def chart(ident: str, title: str, x: str, y: str, lines: Sequence[Line], top: float = 1.0, diagonal: bool = False) -> str:
    """A square with shares on both axes, the upright one up to `top`, and with `diagonal` the line on which both are equal."""
    left, foot, wide = 40, 34, SIDE - 52
    high = SIDE - foot - 10

    def across(value: float) -> float:
        return left + wide * value

    def up(value: float) -> float:
        return 10 + high * (1 - value / top)

    marks = []
    for tick in TICKS:
        marks.append(f'<line class="grid" x1="{left}" x2="{left + wide}" y1="{up(tick * top):.1f}" y2="{up(tick * top):.1f}"/>'
                     f'<text class="tick" x="{left - 5}" y="{up(tick * top) + 4:.1f}" text-anchor="end">{100 * tick * top:g}</text>'
                     f'<text class="tick" x="{across(tick):.1f}" y="{10 + high + 14}" text-anchor="middle">{100 * tick:.0f}</text>')
    if diagonal:
        marks.append(f'<line class="zero" x1="{across(0):.1f}" y1="{up(0):.1f}" x2="{across(1):.1f}" y2="{up(1):.1f}"/>')
    for line in lines:
        places = [(across(a), up(b)) for a, b in line.points]
        marks.append(f'<polyline class="line {line.colour}" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>')
        marks += [f'<circle class="{line.colour}" cx="{a:.1f}" cy="{b:.1f}" r="{2 + 5 * math.sqrt(size):.1f}"/>'
                  for (a, b), size in zip(places, line.sizes or (), strict=False)]
    marks.append(f'<text class="tick" x="{left + wide / 2:g}" y="{SIDE - 4}" text-anchor="middle">{escape(x)}</text>'
                 f'<text class="tick" transform="translate(11 {10 + high / 2:g}) rotate(-90)" text-anchor="middle">{escape(y)}</text>')
    return _svg(ident, title, "; ".join(f"{line.name}: {line.told}" for line in lines),
                f'viewBox="0 0 {SIDE} {SIDE}" width="100%" class="chart"', marks)


def pairs(ident: str, title: str, bars: Sequence[tuple[str, int, int]], colour: str) -> str:
    """Two upright bars side by side for each of (label, first count, second count), the first in a pale colour."""
    top, foot = 18, 104
    most = max((max(first, second) for _, first, second in bars), default=0) or 1
    step = 1 / max(len(bars), 1)
    marks = [f'<line class="axis" x1="0" x2="100%" y1="{foot + 0.5}" y2="{foot + 0.5}"/>']
    for place, (label, *counts) in enumerate(bars):
        for side, (count, kind) in enumerate(zip(counts, ("pale", colour), strict=True)):
            height = max((foot - top) * count / most, 1.5) if count else 0.0
            left, over = (place + 0.12 + 0.38 * side) * step, foot - height
            marks.append(f'<rect class="{kind}" x="{left:.3%}" width="{0.36 * step:.3%}" y="{over:.1f}" height="{height:.1f}"/>'
                         f'<text class="tick" x="{left + 0.18 * step:.3%}" y="{over - 3:.1f}" text-anchor="middle">{count:,}</text>')
        marks.append(f'<text x="{(place + 0.5) * step:.3%}" y="{foot + 15}" text-anchor="middle">{escape(label)}</text>')
    description = "; ".join(f"{label}: right {first:,}, chosen {second:,}" for label, first, second in bars)
    return _svg(ident, title, description, f'width="100%" height="{foot + 20}"', marks)


def _svg(ident: str, title: str, description: str, shape: str, marks: Iterable[str]) -> str:
    return (f'<svg role="img" aria-labelledby="{ident}-t {ident}-d" {shape}><title id="{ident}-t">{escape(title)}</title>'
            f'<desc id="{ident}-d">{escape(description)}</desc>{"".join(marks)}</svg>')
