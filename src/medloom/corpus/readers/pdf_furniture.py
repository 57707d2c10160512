"""What of a PDF's pages is no text of the document's: running heads and feet, page numbers, contents pages; and broken words."""

from __future__ import annotations

import re
from collections import Counter

from .pdf_lines import BROKEN, Line

HEAD, FOOT = 0.88, 0.1  # running heads stand above this share of the page's height, running feet below that
FOOT_EDGE = 0.07  # and below this small type is never text
POSITION = 2.0  # points within which two lines stand at the same height
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(r"[\s|\u2013-]*(?:page\s+)?(?:\d{1,4}(?:\s+\d{1,4})?|[ivxlc]{1,7})(?:\s+of\s+\d+)?[\s|\u2013-]*$", re.IGNORECASE)
LEADERS = re.compile(r"(?:[.\u2026\u00b7]\s?){4,}\s*(?:\d{1,4}|[ivxlc]{1,7})?\s*$", re.IGNORECASE)
_ENDS_IN_NUMBER = re.compile(r"\S\s+(?:\d{1,3}|[ivxlc]{1,6})$")
_BULLET = re.compile(r"[•●▪■◦‣∙·\u2013-]\s")
_NOTE = re.compile(r"(?:\d{1,2}|[*†‡])\s?[A-Z]")
_PARTED = re.compile(rf"(\w+){BROKEN}\s*(\w+)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_COMPOUND = re.compile(r"([^\W\d_]{2,})[-\u2010\u2011]([^\W\d_]{2,})")


def without_furniture(pages: list[list[Line]], heights: list[float], body: float) -> list[list[Line]]:
    """Pages without running heads and feet. `body` is the size of the text.

    A line at the edge is one where it is a page number, where it recurs at its height on three pages or more (numbers aside, unless it
    stands out as a heading does), or where it is set otherwise than the text, stands apart from it, and a quarter of all pages have
    such a line there.
    """
    def forms_of(line: Line) -> list[tuple[str, int]]:
        stands_out = line.bold or line.size > 1.1 * body
        words = line.text.lower() if stands_out else _DIGITS.sub("#", line.text.lower())
        return [(words, round(line.bottom / POSITION) + step) for step in (0, -1, 1)]

    edges = [[line for line in page if not FOOT * height <= line.bottom <= HEAD * height]
             for page, height in zip(pages, heights, strict=True)]
    forms = Counter(found for edge in edges for found in {forms_of(line)[0] for line in edge})
    apart = [[line for line in edge if _stands_apart(line, page, body)] for edge, page in zip(edges, pages, strict=True)]
    places = Counter(found for lines in apart for found in {round(line.bottom / POSITION) for line in lines})
    often = max(4, len(pages) / 4)
    numbers = Counter(found for page in pages
                      for found in {round(line.bottom / POSITION) for line in page if _PAGE_NUMBER.match(line.text)})

    def near(counts: Counter[int], line: Line) -> int:
        place = round(line.bottom / POSITION)
        return counts[place - 1] + counts[place] + counts[place + 1]

    def runs(line: Line, height: float, is_apart: bool) -> bool:
        if _PAGE_NUMBER.match(line.text):
            return True
        if len(line.text) < 120 and sum(forms[found] for found in forms_of(line)) >= 3 and not _BULLET.match(line.text):
            return True
        if is_apart and near(places, line) >= often:
            return True
        return is_apart and line.bottom < FOOT_EDGE * height and line.size < body and not _NOTE.match(line.text)

    marked = [{id(line) for line in edge if runs(line, height, line in lone)}
              for edge, height, lone in zip(edges, heights, apart, strict=True)]
    for page, out in zip(pages, marked, strict=True):  # some stand at the side, half way up
        out.update(id(line) for line in page if _PAGE_NUMBER.match(line.text) and near(numbers, line) >= often)
    return [_title_first([line for line in page if id(line) not in out], body) for page, out in zip(pages, marked, strict=True)]


def _title_first(page: list[Line], body: float) -> list[Line]:
    """A page with what is set large at its top before the rest: chapters' titles are often drawn last."""
    top = max((line.bottom + line.size for line in page if line.size <= 1.3 * body), default=0.0)
    title = [line for line in page if line.size > 1.3 * body and line.bottom + line.size > top]
    return [*title, *(line for line in page if line not in title)] if title else page


def _stands_apart(line: Line, page: list[Line], body: float) -> bool:
    """Whether a line is set otherwise than the text, though not as a heading, with white space between it and the text."""
    if abs(line.size - body) <= 0.4 or line.size > 1.3 * body:
        return False
    distances = (abs(other.bottom - line.bottom) for other in page)
    return not any(POSITION < distance < 1.7 * body for distance in distances)


def without_contents(pages: list[list[Line]]) -> list[list[Line]]:
    """Pages without tables of contents: whole pages of them, and lines that end in dot leaders anywhere."""
    kept: list[list[Line]] = []
    goes_on = False
    for page in pages:
        texts = [line.text for line in page]
        goes_on = is_contents(texts, goes_on)
        kept.append([] if goes_on else [line for line in page if not LEADERS.search(line.text)])
    return kept


def is_contents(lines: list[str], goes_on: bool = False) -> bool:
    """Whether a page is a table of contents: most of its lines end in dot leaders or, under that heading or on a page that follows
    such a one, in a page number."""
    if len(lines) < 4:
        return False
    if sum(bool(LEADERS.search(line)) for line in lines) >= 0.4 * len(lines):
        return True
    named = goes_on or any(line.lower().rstrip(".") in ("contents", "table of contents") for line in lines)
    return named and sum(bool(_ENDS_IN_NUMBER.search(line)) for line in lines) >= 0.5 * len(lines)


def join_broken_words(pages: list[list[Line]]) -> list[list[Line]]:
    """Pages with the words whole again that a line end broke.

    A hyphen of the word's own is kept, by what the document shows: whichever of the joined and the hyphenated form stands elsewhere in
    it more often. What neither says is kept in a web address, before a capital or a digit, after capitals, in a compound that has a
    hyphen already, where the document breaks few words at its line ends, and between two of its words of four letters or more.
    """
    whole = " ".join(line.text for page in pages for line in page)
    if BROKEN not in whole:
        return pages
    intact = _PARTED.sub(" ", whole).lower()
    words = Counter(_WORD.findall(intact))
    compounds = Counter(_COMPOUND.findall(intact))
    parted = [(match[1].lower(), match[2].lower()) for match in _PARTED.finditer(whole)]
    breaks_words = sum(words[low + high] > compounds[low, high] for low, high in parted) > sum(pair in compounds for pair in parted)

    def join(match: re.Match[str]) -> str:
        left, right = match[1], match[2]
        low, high = left.lower(), right.lower()
        token = match.string[match.string.rfind(" ", 0, match.start()) + 1 : match.start()]
        if "/" in token or "www." in token:
            is_compound = True
        elif words[low + high] or compounds[low, high]:
            is_compound = compounds[low, high] > words[low + high]
        elif not right[0].islower() or not left[-1].isalpha() or (len(left) > 1 and left.isupper()) or token.endswith("-"):
            is_compound = True
        else:
            is_compound = not breaks_words or (words[low] > 1 and words[high] > 1 and min(len(low), len(high)) >= 4)
        return f"{left}-{right}" if is_compound else left + right

    return [[line._replace(text=_PARTED.sub(join, line.text).replace(BROKEN, "-")) if BROKEN in line.text else line for line in page]
            for page in pages]
