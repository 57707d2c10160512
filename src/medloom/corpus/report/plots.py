"""The plots of the report as SVG that stands in the page: bars in percent of the width there is, text in the size of the page's own.

Colours come from the page's style by class (`g-train`, `g-filtered` and so on), so that light, dark and paper each have theirs. Every
plot says what it shows in its title and all of its numbers in its description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

SLIVER = 0.01  # of the width: what is less than this is drawn as wide, so that it can be seen
NARROW = 320  # pixels of a plot on a small phone, by which it is decided whether a number fits
DIGIT = 7.5  # pixels of a digit
ROW = 34  # of a funnel: a line of text and its bar
LABELS = 7  # under a histogram
PLOT = (18, 104)  # top and foot of a histogram's bars in pixels

Part = tuple[str, int]
"""The class of a colour and a count."""


def stacked(ident: str, title: str, description: str, parts: Sequence[Part], height: int = 30) -> str:
    """One bar cut into parts, with the counts that fit written in."""
    marks = []
    for left, width, (name, count) in _spans(parts):
        marks.append(f'<rect class="g-{name}" x="{left:.3%}" width="{width:.3%}" height="{height}"/>')
        label = f"{count:,}"
        if width * NARROW > len(label) * DIGIT + 6:
            marks.append(f'<text class="on" x="{left + width / 2:.3%}" y="{height / 2 + 4.5:g}" text-anchor="middle">{label}</text>')
    return _svg(ident, title, description, height, marks)


def funnel(ident: str, title: str, description: str, rows: Iterable[tuple[str, str, str, Sequence[Part]]], whole: int) -> str:
    """Bars under each other, each below its line of text: (label, what it lost, what is left, parts of `whole`)."""
    marks, top = [], 0
    for label, lost, left_over, parts in rows:
        marks.append(f'<text x="0" y="{top + 13}">{escape(label)}</text>'
                     f'<text x="72%" y="{top + 13}" text-anchor="end">{escape(lost)}</text>'
                     f'<text class="strong" x="100%" y="{top + 13}" text-anchor="end">{escape(left_over)}</text>'
                     f'<rect class="track" width="100%" y="{top + 18}" height="{ROW - 24}"/>')
        total = sum(count for _, count in parts)
        scale = total / whole if whole else 0.0
        marks += [f'<rect class="g-{name}" x="{left * scale:.3%}" width="{width * scale:.3%}" y="{top + 18}" height="{ROW - 24}"/>'
                  for left, width, (name, _) in _spans(parts)]
        top += ROW
    return _svg(ident, title, description, top, marks)


def histogram(ident: str, title: str, bars: Sequence[tuple[str, str, int]], colour: str) -> str:
    """Upright bars of (label below, what it stands for, count), the tallest with its number."""
    top, foot = PLOT
    most = max((count for _, _, count in bars), default=0) or 1
    step = 1 / max(len(bars), 1)
    every = -(-len(bars) // LABELS)
    marks, named = [f'<line class="axis" x1="0" x2="100%" y1="{foot + 0.5}" y2="{foot + 0.5}"/>'], False
    for place, (label, meaning, count) in enumerate(bars):
        height = max((foot - top) * count / most, 1.5) if count else 0.0
        middle = (place + 0.5) * step
        marks.append(f'<rect class="g-{colour}" x="{(place + 0.1) * step:.3%}" width="{0.8 * step:.3%}" y="{foot - height:.1f}" '
                     f'height="{height:.1f}"><title>{escape(meaning)}: {count:,}</title></rect>')
        if count == most and not named:
            edge = 0.4 * step
            anchor, x = ("start", middle - edge) if middle < 0.08 else ("end", middle + edge) if middle > 0.92 else ("middle", middle)
            marks.append(f'<text class="strong" x="{x:.3%}" y="{top - 5}" text-anchor="{anchor}">{count:,}</text>')
            named = True
        if place % every == 0:
            marks.append(f'<text class="tick" x="{middle:.3%}" y="{foot + 15}" text-anchor="middle">{escape(label)}</text>')
    description = "; ".join(f"{meaning}: {count:,}" for _, meaning, count in bars)
    return _svg(ident, title, description, foot + 20, marks)


def _spans(parts: Sequence[Part]) -> list[tuple[float, float, Part]]:
    """(left, width, part) of the parts that have anything, as fractions that add up to 1."""
    total = sum(count for _, count in parts)
    widths = [max(count / total, SLIVER) if count else 0.0 for _, count in parts] if total else []
    spans, left = [], 0.0
    for width, part in zip(widths, parts, strict=False):
        if width:
            spans.append((left, width / sum(widths), part))
            left += width / sum(widths)
    return spans


def _svg(ident: str, title: str, description: str, height: float, marks: Iterable[str]) -> str:
    return (f'<svg role="img" aria-labelledby="{ident}-t {ident}-d" width="100%" height="{height:g}"><title id="{ident}-t">'
            f'{escape(title)}</title><desc id="{ident}-d">{escape(description)}</desc>{"".join(marks)}</svg>')
