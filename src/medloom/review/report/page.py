"""The report as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from ...notice import NOTICE
from ...numbers import percent
from ...pages import html_page as page
from .plots import Dot, dots, scales, shade
from .tables import SECTIONS, Table, headline, reach, signed, tables

Found = Mapping[str, Any]
HALVES = ((0.0, "0 %"), (0.25, "25 %"), (0.5, "50 %"), (0.75, "75 %"), (1.0, "100 %"))
ABOUT = {
    "contests": "How often the first model was preferred, with its 95 % interval. Right of the dashed line the first was preferred.",
    "strengths": "Log-strengths with their 95 % intervals; the mean of all models is nothing.",
    "axes": "How often each option was chosen, from the worst (left) to the best (right); at the right the mean place on the scale.",
    "unsafe": "How often a model's answers were marked, with the 95 % interval.",
    "agreement": "Krippendorff's alpha with its 95 % interval.",
}


def html_page(found: Found) -> str:
    """The page. Sections without anything in them are left out; everything from outside is escaped."""
    made = tables(found)
    drawn = {"contests": _contests(found), "strengths": _strengths(found), "axes": _axes(found), "unsafe": _unsafe(found),
             "agreement": _agreement(found)} if found["votes"] else {}
    bodies = {key: _section(key, made.get(key), drawn.get(key, "")) for key in SECTIONS}
    opening = (f'<h1>{escape(found["title"])}</h1><p class="soft">A blind review of {escape(", ".join(found["models"]))}</p>'
               f'<p class="notice" role="note">{escape(NOTICE)}</p><p class="lead">{escape(headline(found))}</p>')
    closing = "<p>Worked out from the votes in this study's folder; every one of them stands in the export.</p>"
    return page(f"Review: {found['title']}", opening, SECTIONS, bodies, closing, __package__)


def _section(key: str, table: Table | None, plot: str) -> str:
    about = f'<p class="note">{escape(ABOUT[key])}</p>' if plot else ""
    if table is None:
        return about + plot
    shown = _table(key, table)
    return about + plot + (f"<details><summary>The numbers</summary>{shown}</details>" if plot and key in ("axes", "unsafe") else shown)


def _contests(found: Found) -> str:
    rows = [Dot(f"{row['first']} against {row['second']}", _told(row), row["share"], row["low"], row["high"], "m-1")
            for row in found["contests"] if row["share"] is not None]
    return _plot(dots("contests-plot", "Win rates", rows, (0, 1), HALVES, 0.5))


def _strengths(found: Found) -> str:
    if not found["strengths"]:
        return ('<p class="note">There is no estimate: it needs votes on two questions or more, and a chain of wins from every model to '
                "every other.</p>")
    # A model with few votes may have an interval that leaves no room for the others; it then runs out of the plot.
    far = max(1.0, *(min(abs(row[end]), 4 + abs(row["value"])) for row in found["strengths"] for end in ("low", "high")))
    ends = math.ceil(far)
    step = max(1, ends // 3)
    ticks = [(float(value), signed(value).removesuffix(".00") if value else "0") for value in range(-(ends // step) * step, ends + 1, step)]
    rows = [Dot(row["model"], signed(row["value"]), row["value"], row["low"], row["high"], f"m-{found['models'].index(row['model']) % 6}")
            for row in found["strengths"]]
    return _plot(dots("strengths-plot", "Strengths", rows, (-ends, ends), ticks, 0))


def _axes(found: Found) -> str:
    cards = []
    for axis in found["axes"]:
        rows = [(row["model"], "" if row["share"] is None else f"{percent(row['share'])}", row["counts"]) for row in axis["models"]]
        options, title = axis["options"], axis["title"]
        key = "".join(f'<li><span class="chip {shade(place, len(options))}"></span>{escape(option)}</li>'
                      for place, option in enumerate(options))
        plot = scales("axis-" + axis["key"], title, options, rows)
        cards.append(f'<div class="card"><h3>{escape(title)}</h3><p class="note">{escape(axis["question"])}</p>{plot}'
                     f'<ul class="parts">{key}</ul></div>')
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _unsafe(found: Found) -> str:
    rows = [Dot(row["model"], _told(row), row["share"], row["low"], row["high"], f"m-{place % 6}")
            for place, row in enumerate(found["unsafe"])]
    return _plot(dots("unsafe-plot", "Marked as unsafe", rows, (0, 1), HALVES))


def _agreement(found: Found) -> str:
    rows = [Dot(row["title"], signed(row["alpha"]).lstrip("+"), row["alpha"], row["low"], row["high"], "m-1")
            for row in found["agreement"] if row["alpha"] is not None]
    ticks = ((-0.5, "\N{MINUS SIGN}0.5"), (0.0, "0"), (0.5, "0.5"), (0.8, "0.8"), (1.0, "1"))
    return _plot(dots("agreement-plot", "Agreement", rows, (-0.5, 1), ticks, 0.0)) if rows else ""


def _told(row: Found) -> str:
    return "" if row["share"] is None else f"{percent(row['share'])} ({reach(row)})"


def _plot(svg: str) -> str:
    return f'<figure class="plot">{svg}</figure>'


def _table(key: str, table: Table) -> str:
    head = "".join(f'<th scope="col"{_kind(table, place)}>{escape(column)}</th>' for place, column in enumerate(table.columns))
    rows = "".join(f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(
        f"<td{_kind(table, place)}>{escape(cell)}</td>" for place, cell in enumerate(row) if place) + "</tr>" for row in table.rows)
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(SECTIONS[key])}: numbers"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}")


def _kind(table: Table, column: int) -> str:
    return "" if column == 0 or table.columns[column] in ("against", "model", "scale", "last vote (UTC)") else ' class="num"'
