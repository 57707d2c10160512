"""The lines of a PDF's pages with where and how they stand, in the order in which they are read.

Text is from pdfium, line by line in the order of the page's content, which is nearly always the order of reading. Where it is not, two
columns are told apart by the space between them. A line that pdfium takes together over a broken word holds BROKEN there.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

BROKEN = "\ufffe"
SAME_ROW = 2.5  # points between two base lines that are one
GUTTER = 9.0  # points of white space that may part two columns
SAMPLED_LINES = 8
_BOLD = re.compile(r"bold|black|heavy|demi|-medi", re.IGNORECASE)
_OUTSIDE_BMP = re.compile("[\U00010000-\U0010ffff]")
_NUMBER_ALONE = re.compile(r"(?:\d{1,4}|[ivxlc]{1,7})$", re.IGNORECASE)
_SECTION_NUMBER = re.compile(r"\d{1,2}(?:\.\d{1,2}){1,4}\.?$")


class Line(NamedTuple):
    """A line: the edges of its first and last character and its base line, in points from the page's lower left corner; `size` is the
    height of its font; `bold` where it begins and ends so; `breaks` how many line ends within words it took in."""

    text: str
    page: int
    left: float
    right: float
    bottom: float
    size: float
    bold: bool
    breaks: int = 0


class Reader:
    """Reads pages of one document; fonts are looked at once by name."""

    def __init__(self) -> None:
        import pypdfium2.raw

        self._raw = pypdfium2.raw
        self._rect = pypdfium2.raw.FS_RECTF()
        self._name = ctypes.create_string_buffer(96)
        self._flags = ctypes.c_int()
        self._is_bold: dict[bytes, bool] = {}
        self._turned = (0, 0.0, 0.0)  # quarters by which the page in hand is turned, its width and height before that

    def lines(self, page: Any, number: int) -> tuple[list[Line], float]:
        """The lines of a page in the order of reading, and its height in points, both as the page is held to read most of its text; what
        stands otherwise is left out. Raises PdfiumError."""
        text_page = page.get_textpage()
        try:
            width, height = page.get_size() if page.get_rotation() % 180 == 0 else reversed(page.get_size())
            found = self._found(text_page)
            turns: Counter[int] = Counter()
            for text, first, _ in found:
                turns[self._turn(text_page, first)] += len(text)
            turn = max(turns, key=lambda turn: (turns[turn], -turn), default=0)
            self._turned = (turn, width, height)
            if len(turns) > 1:
                found = [entry for entry in found if self._turn(text_page, entry[1]) == turn]
            lines = [self._line(text_page, number, *entry) for entry in found]
            starts = [first for _, first, _ in found]
            if turn % 2:
                width, height = height, width
            gutter = self._gutter(text_page, lines, starts)
            if gutter:
                lines = self._split(text_page, lines, starts, gutter)
        finally:
            text_page.close()
        return _with_numbers_joined(_in_order(lines, width)), height

    def _found(self, text_page: Any) -> list[tuple[str, int, int]]:
        """(text, place of its first character, of its last) of each line, places as pdfium counts them."""
        found: list[tuple[str, int, int]] = []
        text_of_page = text_page.get_text_range()
        place = 0  # in UTF-16 units
        has_textless = len(text_of_page) + len(_OUTSIDE_BMP.findall(text_of_page)) != text_page.count_chars()
        for whole in text_of_page.replace("\x02", BROKEN).split("\n"):
            text = whole.strip()
            wide = len(_OUTSIDE_BMP.findall(whole)) if not whole.isascii() else 0
            if text:
                first = place + len(whole) - len(whole.lstrip())
                last = place + len(whole.rstrip()) + wide - 1
                if has_textless:  # characters that have no text count all the same
                    first, last = (self._raw.FPDFText_GetCharIndexFromTextIndex(text_page, index) for index in (first, last))
                found.append((text, first, last))
            place += len(whole) + wide + 1
        return found

    def _line(self, text_page: Any, number: int, text: str, first: int, last: int) -> Line:
        left, bottom, _, top = self._box(text_page, first)
        right = self._box(text_page, last)[2]
        bold = self._bold(text_page, first) and self._bold(text_page, last)
        return Line(text, number, left, right, bottom, top - bottom, bold, text.count(BROKEN))

    def _turn(self, text_page: Any, place: int) -> int:
        """By how many quarters of a circle a character is turned, clockwise."""
        angle = float(self._raw.FPDFText_GetCharAngle(text_page, place))  # -1 where there is none
        return round(max(angle, 0.0) / (math.pi / 2)) % 4

    def _box(self, text_page: Any, place: int) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of a character, seen as the text of the page is read."""
        rect = self._rect
        self._raw.FPDFText_GetLooseCharBox(text_page, place, rect)
        turn, width, height = self._turned
        if turn == 0:
            return rect.left, rect.bottom, rect.right, rect.top
        if turn == 1:
            return height - rect.top, rect.left, height - rect.bottom, rect.right
        if turn == 2:
            return width - rect.right, height - rect.top, width - rect.left, height - rect.bottom
        return rect.bottom, width - rect.right, rect.top, width - rect.left

    def _bold(self, text_page: Any, place: int) -> bool:
        length = self._raw.FPDFText_GetFontInfo(text_page, place, self._name, 96, self._flags)
        name = self._name.raw[: min(max(length - 1, 0), 96)]
        found = self._is_bold.get(name)
        if found is None:
            found = self._is_bold[name] = bool(_BOLD.search(name.decode("latin-1")))
        return found

    def _gaps(self, text_page: Any, line: Line, start: int) -> list[tuple[int, float]]:
        """(place in the text, x of its middle) of the wide spaces in a line."""
        if BROKEN in line.text or _OUTSIDE_BMP.search(line.text):
            return []
        spaces = [n for n, character in enumerate(line.text) if character == " " and 0 < n < len(line.text) - 1]
        edges = [(n, self._box(text_page, start + n - 1)[2], self._box(text_page, start + n + 1)[0]) for n in spaces]
        return [(n, (left + right) / 2) for n, left, right in edges if right - left > GUTTER]

    def _gutter(self, text_page: Any, lines: list[Line], starts: list[int]) -> float | None:
        """Where two columns meet whose lines pdfium took together, since they stand on one base line; tried on a few lines."""
        long = [n for n, line in enumerate(lines) if len(line.text) > 50 and BROKEN not in line.text]
        if len(long) < SAMPLED_LINES:
            return None
        step = len(long) / SAMPLED_LINES
        sample = [self._gaps(text_page, lines[n], starts[n]) for n in (long[int(step * k)] for k in range(SAMPLED_LINES))]
        single = [gaps[0][1] for gaps in sample if len(gaps) == 1]  # more are a table's
        if len(single) < 0.7 * SAMPLED_LINES:
            return None
        middle = median(single)
        return middle if sum(abs(x - middle) < 2 * GUTTER for x in single) >= 0.7 * SAMPLED_LINES else None

    def _split(self, text_page: Any, lines: list[Line], starts: list[int], gutter: float) -> list[Line]:
        parts: list[Line] = []
        for line, start in zip(lines, starts, strict=True):
            place = next((n for n, x in self._gaps(text_page, line, start) if abs(x - gutter) < 3 * GUTTER), None)
            if place is None:
                parts.append(line)
                continue
            parts.append(line._replace(text=line.text[:place].rstrip(), right=self._box(text_page, start + place - 1)[2]))
            parts.append(line._replace(text=line.text[place:].lstrip(), left=self._box(text_page, start + place + 1)[0]))
        return parts


def _in_order(lines: list[Line], width: float) -> list[Line]:
    """Lines of two columns of prose column by column, where the content goes to and fro between them; other lines as they come."""
    middle = width / 2
    side = [0 if line.right < middle + GUTTER else 1 if line.left > middle - GUTTER else 2 for line in lines]
    changes = sum(a + b == 1 for a, b in pairwise(side))
    if changes < 4:
        return lines
    columns = [[line for line, s in zip(lines, side, strict=True) if s == number] for number in (0, 1)]
    for column in columns:
        full = max((line.right - line.left for line in column), default=0.0)
        is_prose = full > 0.3 * width and median(line.right - line.left for line in column) > 0.7 * full
        if len(column) < 5 or not is_prose:  # cells of a table are read row by row
            return lines
    ordered: list[Line] = []
    band: list[tuple[int, Line]] = []
    for s, line in [*zip(side, lines, strict=True), (2, None)]:
        if s != 2 and line is not None:
            band.append((s, line))
            continue
        ordered += [held for _, held in sorted(band, key=lambda pair: (pair[0], -pair[1].bottom))]
        band = []
        if line is not None:
            ordered.append(line)
    return ordered


def _with_numbers_joined(lines: list[Line]) -> list[Line]:
    """Lines with the numbers that stand alone in their row: at its end, as in a table of contents, or before a heading."""
    joined: list[Line] = []
    for line in lines:
        last = joined[-1] if joined else None
        if last and abs(last.bottom - line.bottom) < SAME_ROW and line.left > last.right and (
                _NUMBER_ALONE.match(line.text)
                or (_SECTION_NUMBER.match(last.text) and line.left < last.right + 3 * line.size and last.bold == line.bold)):
            joined[-1] = last._replace(text=f"{last.text} {line.text}", right=line.right, breaks=last.breaks + line.breaks)
        else:
            joined.append(line)
    return joined


def body_size(pages: list[list[Line]]) -> float:
    """The size that most characters are set in."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page:
            sizes[round(line.size * 2) / 2] += len(line.text)
    return max(sizes, key=lambda size: (sizes[size], size), default=0.0)
