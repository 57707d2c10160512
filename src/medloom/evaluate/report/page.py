"""The report of an evaluation as one HTML page."""

from __future__ import annotations

from html import escape
from itertools import groupby

from ...notice import NOTICE
from ...pages import html_page as page
from .figures import Figures
from .gather import Gathered
from .published import beside, published_table
from .sections import SECTIONS, headline, unpublished
from .tables import Table, tables

ABOUT = {
    "scores": "Every dot is an accuracy with its 95 % interval; the upright marks are chance (full) and the majority answer (dashed). "
              "Hollow circles are published figures, unpaired with ours.",
    "differences": "Every dot is the difference to the model it is held against, in percentage points with its 95 % interval. Right of "
                   "the zero line the model answers more questions rightly.",
    "calibration": "Of answers given with this confidence (across), how many are right (upright). On the dashed line confidence means what "
                   "it says; below it the model is too sure. The larger a dot, the more answers.",
    "subjects": "Accuracy with its 95 % interval; the upright mark is chance. Small groups have wide intervals: that two bars differ does "
                "not show that the subjects do.",
    "risk": "How often the model is wrong (upright) if it answers only the share of the questions that it is surest of (across).",
    "forgetting": "From the hollow circle, before, to the full one, after.",
    "letters": "Pale bars: how often each option was right; full ones: how often it was chosen. A is the first option.",
    "askings": "Every dot is one asking of all the questions.",
    "contamination": "Accuracy with its 95 % interval on the questions that were and were not read in training.",
}


def html_page(gathered: Gathered) -> str:
    """The page. Sections without anything in them are left out; everything from outside is escaped."""
    known = beside(gathered)
    made = {table.key: table for table in [*tables(gathered), *([published_table(known)] if known else [])]}
    plots = Figures(gathered, known)
    drawn = {"scores": plots.scores(), "differences": plots.differences(), "calibration": plots.reliability(), "subjects": plots.subjects(),
             "risk": plots.risk(), "forgetting": plots.forgetting(), "letters": plots.letters(), "askings": plots.askings(),
             "contamination": plots.contamination()}
    bodies = {key: _section(key, made.get(key), drawn.get(key, "")) for key in SECTIONS}
    bodies["published"] = bodies["published"] or f"<p>{escape(unpublished(gathered))}</p>"
    name = f" of {gathered.name}" if gathered.name else ""
    opening = (f'<h1>The evaluation{escape(name)}</h1><p class="notice" role="note">{escape(NOTICE)}</p>'
               f'<p class="lead">{escape(headline(gathered))}</p>')
    closing = "<p>Worked out from the answers in this run's folder; every answer stands in answers.jsonl.</p>"
    return page(f"The evaluation{name}", opening, SECTIONS, bodies, closing, plots=True)


def _section(key: str, table: Table | None, plot: str) -> str:
    about = f'<p class="note">{escape(ABOUT[key])}</p>' if plot else ""
    if table is None:
        return about + plot
    shown = _table(table)
    # Tables that repeat a plot's numbers one by one are long; who wants them opens them.
    return about + plot + (f"<details><summary>The numbers</summary>{shown}</details>"
                           if plot and key not in ("scores", "differences", "forgetting") else shown)


def _table(table: Table) -> str:
    """A table in a box that scrolls by itself where the window is narrow; rows that belong together share their first cells."""
    head = "".join(f'<th scope="col"{_kind(table, place)}>{escape(column)}</th>' for place, column in enumerate(table.columns))
    bodies = []
    for _, group in groupby(table.rows, key=lambda row: row[:table.shared]):
        rows = list(group)
        span = f' rowspan="{len(rows)}"' if len(rows) > 1 else ""
        for place, row in enumerate(rows):
            named = "" if place else f'<th scope="{"rowgroup" if span else "row"}"{span}>{escape(row[0])}</th>'
            cells = "".join(f"<td{_kind(table, column, cell)}{span if column < table.shared else ''}>{escape(cell)}</td>"
                            for column, cell in enumerate(row) if column >= (table.shared if place else 1))
            bodies.append(f"<tr>{named}{cells}</tr>")
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(SECTIONS[table.key])}"><table>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(bodies)}</tbody></table></div>{note}")


def _kind(table: Table, column: int, cell: str = "") -> str:
    if column in table.texts:
        return f' class="text{" wide" if len(cell) > 60 else " short" if len(cell) < 14 else ""}"'
    return ' class="num"'
