"""The tables of a card, whether its Markdown kept its lines or lost them, or whether it was HTML.

Not a Markdown reader: it knows pipes, the rule of dashes under a header, and what flattening does to them (a line break between two rows
becomes an empty cell).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

_RULE = r"\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?"
_RULE_LINE = re.compile(rf"^[ \t]*{_RULE}[ \t]*$")
_RULE_INSIDE = re.compile(r"\|[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+\|")
_NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?$")
LONGEST_CELL = 120


@dataclass(frozen=True)
class Table:
    """Header cells and rows of cells, stripped of marks. A table whose header line was empty has its first row for a header
    where that row reads like one, else an empty header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(cell: str) -> float | None:
    """A cell's number; None where it is not one. Percent signs, footnotes and stars are overlooked."""
    bare = cell.replace("%", "").replace("*", "").replace(",", "").strip()
    return float(bare) if _NUMBER.match(bare) else None


def split_tables(text: str) -> tuple[str, list[Table]]:
    """The prose with its tables taken out, and the tables."""
    prose: list[str] = []
    tables: list[Table] = []
    lines = text.splitlines()
    place = 0
    while place < len(lines):
        line = lines[place]
        if "|" in line and _RULE_LINE.match(line) and prose and "|" in prose[-1]:
            header = _cells(prose.pop())
            rows = []
            while place + 1 < len(lines) and "|" in lines[place + 1]:
                place += 1
                rows.append(_cells(lines[place]))
            tables.append(_table(header, rows))
            prose.append("")
        elif _RULE_INSIDE.search(line):
            rest = _flattened(line, tables)
            prose.append(rest)
        else:
            prose.append(line)
        place += 1
    return "\n".join(prose), tables


def _cells(line: str) -> list[str]:
    return [_plain(cell) for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def _plain(cell: str) -> str:
    cell = re.sub(r"\[\^\w+\]", "", cell).replace("\\", "")
    cell = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)
    return re.sub(r"[`*]{1,3}(?=\S)|(?<=\S)[`*]{1,3}(?=\s|$)", "", cell).strip()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    full = [tuple(row) for row in rows if any(row)]
    if any(header):
        return Table(tuple(header), tuple(full))
    if len(full) > 1 and len(full[0]) > 2 and not any(number(cell) is not None for cell in full[0][1:]):
        return Table(full[0], tuple(full[1:]))
    return Table((), tuple(full))


def _flattened(line: str, tables: list[Table]) -> str:
    """Take the tables out of a line that holds them among prose."""
    prose: list[str] = []
    while (found := _RULE_INSIDE.search(line)) is not None:
        columns = found.group().count("|") - 1
        before = line[: found.start()].split("|")
        # The row gap before the rule, then as many header cells as the rule has; what is before them is prose.
        header = before[-1 - columns : -1] if len(before) > columns else []
        lead = "|".join(before[: len(before) - 1 - len(header)])
        prose.append(lead.rstrip("| \t"))
        rows, line = _rows(line[found.end() :])
        tables.append(_table([_plain(cell) for cell in header], rows))
    return "\n".join([*prose, line])


def _rows(text: str) -> tuple[list[list[str]], str]:
    """Rows that follow a rule in flattened text, and the text after the table."""
    cells = text.split("|")
    rows: list[list[str]] = []
    row: list[str] = []
    width = blanks = place = 0
    while place < len(cells):
        cell = cells[place].strip()
        outside = len(cell) > LONGEST_CELL or (not row and blanks > 2) or bool(width and len(row) == width and cell)
        if cell and (outside or place == len(cells) - 1):
            break
        if cell:
            row.append(_plain(cell))
            blanks = 0
        else:
            if row:
                rows.append(row)
                width = width or len(row)
                row = []
            blanks += 1
        place += 1
    if row:
        rows.append(row)
    return rows, "|".join(cells[place:])


class _Markdown(HTMLParser):
    """HTML as lines, its table rows between pipes with a rule under the first."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._cells = self._rows = 0
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._hidden += 1
        elif tag == "table":
            self._rows = 0
        elif tag == "tr":
            self.parts.append("\n|")
            self._cells = 0
        elif tag in ("p", "div", "li", "br", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "section"):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._hidden -= 1
        elif tag in ("td", "th"):
            self._cells += 1
            self.parts.append("|")
        elif tag == "tr":
            self.parts.append("\n|" + "---|" * self._cells if not self._rows else "")
            self._rows += 1
        elif tag in ("table", "p", "div", "li", "h1", "h2", "h3", "h4", "h5", "h6"):
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def from_html(text: str) -> str:
    """HTML turned into text with pipe tables."""
    reader = _Markdown()
    reader.feed(text)
    return "\n".join(line.strip() for line in "".join(reader.parts).splitlines())
