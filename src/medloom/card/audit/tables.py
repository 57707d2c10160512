"""The tables of a card: between pipes, with or without their line breaks, or in HTML.

Not a Markdown reader: it knows pipes, the rule of dashes under a header, and what flattening does to them (a line break between two rows
becomes an empty cell).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_RULE_LINE = re.compile(r"^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$")
_RULE_INSIDE = re.compile(r"\|[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)+\|")
_NUMBER = re.compile(r"^[+-]?(?:\d{1,3}(?:,\d{3})+|\d{1,15})(?:\.\d{1,12})?$")
_HTML_TABLE = re.compile(r"<table\b.*?(?:</table\s*>|\Z)", re.S | re.I)
_SPREAD = re.compile(r"\s*(?:±|\+/-|\\pm)\s*(\d{1,6}(?:\.\d{1,9})?)")
_BEHIND = re.compile(r"(?<=[\d%])\s*[(\[][^)\]]*[)\]]\s*$")  # an interval or a count behind a number
_MARKS = re.compile(r"[*%†‡§↑↓^_$\\]")
LONGEST_CELL = 120
MOST_CELLS = 20_000  # of one table; what is longer is a data set and no card
_WIDEST_SPAN = 100
_LONGEST = 1000  # characters of a cell that are read
_MOST_TABLES = 200  # of one line


@dataclass(frozen=True)
class Table:
    """Header cells and rows of cells, stripped of marks. A table whose header line was empty has its first row for a header
    where that row reads like one, else an empty header."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def number(cell: str) -> float | None:
    """A cell's number; None where it is not one. Percent signs, footnotes, stars and a spread after ± are overlooked."""
    bare = printed(cell)
    return float(bare.replace(",", "")) if _NUMBER.match(bare) else None


def printed(cell: str) -> str:
    """A cell without the marks around its number."""
    return _MARKS.sub("", _BEHIND.sub("", _SPREAD.split(cell, maxsplit=1)[0])).strip()


def spread(cell: str) -> float | None:
    """What a cell prints after ±."""
    found = _SPREAD.search(cell)
    return float(found.group(1)) if found else None


def turned(table: Table) -> Table:
    """Rows for columns. Empty where the rows are not as long as the header."""
    if not table.header or any(len(row) != len(table.header) for row in table.rows):
        return Table((), ())
    columns = list(zip(table.header, *table.rows, strict=True))
    return Table(columns[0], tuple(columns[1:]))


def split_html_tables(text: str) -> tuple[str, list[Table]]:
    """The text with its HTML tables taken out, and the tables."""
    tables: list[Table] = []

    def take(found: re.Match[str]) -> str:
        tables.extend(_html_table(found.group()))
        return "\n\n"

    return _HTML_TABLE.sub(take, text), tables


def _html_table(source: str) -> Iterator[Table]:
    from lxml import etree, html

    try:
        root = html.fragment_fromstring(source, create_parent="div")
    except (etree.LxmlError, ValueError):
        return
    grid: dict[tuple[int, int], str] = {}
    for down, tr in enumerate(root.iter("tr")):
        across = 0
        for cell in tr.iterchildren("td", "th"):
            while (down, across) in grid:
                across += 1
            words = " ".join(cell.text_content().split())
            for row in range(_span(cell.get("rowspan"))):
                for column in range(_span(cell.get("colspan"))):
                    grid[down + row, across + column] = words
            across += _span(cell.get("colspan"))
        if len(grid) > MOST_CELLS:
            break
    if grid:
        width = 1 + max(column for _, column in grid)
        lines = [[_plain(grid.get((row, column), "")) for column in range(width)]
                 for row in sorted({row for row, _ in grid})[:MOST_CELLS]]
        yield _table(lines[0], lines[1:])


def _span(stated: str | None) -> int:
    return min(int(stated), _WIDEST_SPAN) if stated and stated.isascii() and stated.isdigit() and len(stated) < 6 and int(stated) else 1


def split_tables(text: str) -> tuple[str, list[Table]]:
    """The prose with its pipe tables taken out, and the tables."""
    prose: list[str] = []
    tables: list[Table] = []
    lines = text.splitlines()
    place = 0
    while place < len(lines):
        line = lines[place]
        if "|" in line and _RULE_LINE.match(line) and prose and "|" in prose[-1]:
            header = _cells(prose.pop())
            rows: list[list[str]] = []
            while place + 1 < len(lines) and "|" in lines[place + 1]:
                place += 1
                if len(rows) * len(header) < MOST_CELLS:
                    rows.append(_cells(lines[place]))
            tables.append(_table(header, rows))
            prose.append("")
        elif _RULE_INSIDE.search(line):
            prose.append(_flattened(line, tables))
        else:
            prose.append(line)
        place += 1
    return "\n".join(prose), tables


def _cells(line: str) -> list[str]:
    bare = line.strip().replace("\\|", "\N{BROKEN BAR}")
    return [_plain(cell) for cell in bare.removeprefix("|").removesuffix("|").split("|")]


def _plain(cell: str) -> str:
    cell = re.sub(r"\[\^\w+\]", "", cell[:_LONGEST]).replace("\\", "")
    cell = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)
    cell = re.sub(r"</?[a-zA-Z][^<>]*>", "", cell)
    return re.sub(r"[`*]{1,3}(?=\S)|(?<=\S)[`*]{1,3}(?=\s|$)", "", cell).strip()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table without its empty rows and its empty last columns."""
    full = [tuple(row) for row in rows if any(row)]
    if any(header):
        names = [cell for cell in header if cell]
        # Two header rows: what the upper one says of several columns, the lower one tells apart.
        if len(set(names)) < len(names) and len(full) > 1 and not any(number(cell) is not None for cell in full[0]):
            under = full[0] + ("",) * len(header)
            header, full = [below or above for above, below in zip(header, under, strict=False)], full[1:]
        return _trimmed(tuple(header), full)
    if len(full) > 1 and len(full[0]) > 2 and not any(number(cell) is not None for cell in full[0][1:]):
        return _trimmed(full[0], full[1:])
    return Table((), tuple(full))


def _trimmed(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    width = len(header)
    while width and not header[width - 1] and not any(row[width - 1] for row in rows if len(row) >= width):
        width -= 1
    return Table(header[:width], tuple(row[:width] + ("",) * (width - len(row)) for row in rows))


def _flattened(line: str, tables: list[Table]) -> str:
    """Take the tables out of a line that holds them among prose."""
    prose: list[str] = []
    while len(prose) < _MOST_TABLES and (found := _RULE_INSIDE.search(line)) is not None:
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
