"""Writing the report into the study's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...ledger.files import write_text
from ...notice import NOTICE
from ..store import Store
from .gather import gather
from .page import html_page
from .tables import SECTIONS, Found, headline, tables


def draw_report(store: Store) -> tuple[dict[str, Any], list[Path]]:
    """Write report.html and report.md into the study's folder; the same votes give the same bytes. Gives what they say, and the two
    paths."""
    found = gather(store)
    page, text = store.folder / "report.html", store.folder / "report.md"
    write_text(page, html_page(found))
    write_text(text, markdown(found))
    return found, [page, text]


def markdown(found: Found) -> str:
    """The report as Markdown."""
    parts = [f"# {_plain(found['title'])}", f"A blind review of {_plain(', '.join(found['models']))}.", f"> {NOTICE}", headline(found)]
    for key, table in sorted(tables(found).items(), key=lambda item: list(SECTIONS).index(item[0])):
        rows = [f"| {' | '.join(map(_plain, row))} |" for row in table.rows]
        parts += [f"## {SECTIONS[key]}", "\n".join([f"| {' | '.join(table.columns)} |", "|" + "---|" * len(table.columns), *rows])]
        parts += [table.note] if table.note else []
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
