"""The report in Markdown: the same sentences and tables as the page, without its plots."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...notice import NOTICE
from .gather import Gathered
from .published import beside, published_table
from .sections import SECTIONS, headline, unpublished
from .tables import Table, tables

_MARKS = re.compile(r"([\\`*_\[\]<>|~#])")


def markdown(gathered: Gathered) -> str:
    """The text. What comes from outside cannot form markup."""
    known = beside(gathered)
    made = {table.key: table for table in [*tables(gathered), *([published_table(known)] if known else [])]}
    parts = ["# The evaluation", f"> {NOTICE}", _safe(headline(gathered))]
    for key, title in SECTIONS.items():
        if key in made:
            parts += [f"## {title}", *([_safe(made[key].note)] if made[key].note else []), "\n".join(_lines(made[key]))]
    if not known:
        parts += [f"## {SECTIONS['published']}", _safe(unpublished(gathered))]
    return "\n\n".join(parts) + "\n"


def _lines(table: Table) -> Iterator[str]:
    yield _row(table.columns)
    yield "|" + "|".join(" --- " if place in table.texts else " ---: " for place in range(len(table.columns))) + "|"
    yield from (_row(row) for row in table.rows)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(_safe(cell) for cell in cells) + " |"


def _safe(text: str) -> str:
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
