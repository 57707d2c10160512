"""From a PDF's lines to its text: paragraphs, and headings by how they are set, with the list of references and the notes told apart."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from .pdf_lines import SAME_ROW, Line
from .sections import REFERENCES, heading

HEADING_CHARACTERS = 160
HEADING_LINES = 3
HALF = 200.0  # points: lines that begin this far apart are of different columns
_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+[A-Z]")
_PLAIN_NUMBERED = re.compile(r"(\d{1,2}(?:\.\d{1,2}){1,4})\.?\s+[A-Z][^.;]{2,90}$")
_NAMED = re.compile(r"(?:abstract|background|introduction|methods|results|discussion|conclusions?|recommendations?|acknowledge?ments"
                    r"|references|bibliography|executive summary|glossary|abbreviations(?: and acronyms)?|foreword|annex(?:es)?\b.{0,80}"
                    r"|appendix\b.{0,80})$", re.IGNORECASE)
_AFTER_REFERENCES = re.compile(r"(?:annex(?:es)?|appendix|appendices|glossary|supplement)\b", re.IGNORECASE)
# A mark that a font has only by its number comes as a control or private character.
_MARK = r"[•●▪■◦‣∙·▶►➤✓✔❖◆○□\uf000-\uf8ff\x01-\x08\x0e-\x1f\x7f-\x9f]"
_BULLET = re.compile(rf"{_MARK}\s*(?=\S)")
_ITEM = re.compile(rf"(?:{_MARK}|[*\u2013-]|\(?(?:\d{{1,2}}|[a-z]|[ivx]{{1,4}})[.)])\s")
_NOTE = re.compile(r"(?:\d{1,3}|[*†‡§¶#]+|[a-z])\s?[A-Z\"\u201c(]|(?:\d{1,3}\s?)?(?:https?:|www\.)")
_CAPTION = re.compile(r"(?:fig(?:ure|\.)?|table|box)\s*\d", re.IGNORECASE)
_OPEN_DASH = re.compile(r"(?<=\w)([\u2013\u2014])\n (?=\w)")
_SMALL = re.compile(r"[\"'(\[\u2018\u201c]?[^\W\d_A-Z]")
_ENDS = re.compile(r"[.!?:;][\"\u201d\u2019)\]]*(?:\s?\(?\d[\d,\u2013-]*\)?)?$")


@dataclass
class _Block:
    """A paragraph or heading in the making."""

    lines: list[Line]
    is_heading: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return _OPEN_DASH.sub(r"\1", " ".join(line.text + "\n" for line in self.lines)).replace("\n", "").strip()


def text_of(pages: list[list[Line]], body: float) -> str:
    """Paragraphs, list items and # headings, in order; the lists of references are left out. `body` is the size of the text."""
    text, was_item = "", False
    for block in _without_references(_written(_blocks(pages, body))):
        is_item = bool(_ITEM.match(block))
        mark = _BULLET.match(block)
        text += ("" if not text else "\n" if is_item and was_item else "\n\n") + (f"- {block[mark.end():]}" if mark else block)
        was_item = is_item
    return text


def _blocks(pages: list[list[Line]], body: float) -> list[_Block]:
    lines = [line for page in pages for line in page]
    if not lines:
        return []
    notes = _notes(lines, body)
    margins = Counter(round(line.left) for line in lines)
    is_set_apart = sum(line.size > 1.1 * body or line.bold for line in lines) >= 3
    margin_right = _right_margins(lines, body)
    steps = [before.bottom - line.bottom for before, line in pairwise(lines)
             if before.page == line.page and not before.breaks and abs(line.size - body) < 1]
    leading = median([step for step in steps if 0.5 * body < step < 3 * body] or [1.2 * body])
    blocks: list[_Block] = []
    for number, line in enumerate(lines):
        last = blocks[-1] if blocks else None
        before = last.lines[-1] if last else None
        if number in notes and last:
            if number - 1 in notes and last.notes and not _NOTE.match(line.text):
                last.notes[-1] += f" {line.text}"
            else:
                last.notes.append(line.text)
            continue
        after = lines[number + 1] if number + 1 < len(lines) else None
        right = margin_right[before.page, round(before.left / HALF)] if before else 0.0
        if last and before and last.is_heading and _same_heading(before, line, right):
            last.lines.append(line)
        elif _is_heading(line, lines[number - 1] if number else None, after, body, margins, is_set_apart):
            blocks.append(_Block([line], is_heading=True))
        elif last and before and not last.is_heading and _goes_on(before, line, leading, right):
            last.lines.append(line)
        elif last and before and _CAPTION.match(line.text) and not last.is_heading and not _ENDS.search(before.text):
            last.notes.append(line.text)  # a figure's caption between two halves of a sentence
        else:
            blocks.append(_Block([line]))
    return blocks


def _right_margins(lines: list[Line], body: float) -> dict[tuple[int, int], float]:
    """How far text reaches to the right, by page and by where its lines begin, so that columns are told apart."""
    reach: dict[tuple[int, int], float] = {}
    for is_text in (False, True):  # lines of text replace what headings and tables say
        found: dict[tuple[int, int], float] = {}
        for line in lines:
            if not is_text or (abs(line.size - body) < 0.6 and not line.bold):
                place = (line.page, round(line.left / HALF))
                found[place] = max(found.get(place, 0.0), line.right)
        reach.update(found)
    return reach


def _notes(lines: list[Line], body: float) -> set[int]:
    """The lines that are footnotes: small, begun by a mark, below the text, at the end of a page or column."""
    found: set[int] = set()
    start: int | None = None
    for number, line in enumerate([*lines, None]):
        if start is not None:
            first = lines[start]
            if line is not None and line.page == first.page and line.bottom <= lines[number - 1].bottom and line.size < 0.93 * body:
                continue
            if line is None or line.page != first.page or line.bottom > lines[number - 1].bottom:
                found.update(range(start, number))
            start = None
        if line is not None and line.size < 0.93 * body and line.bottom < 350 and _NOTE.match(line.text):
            start = number
    return found


def _is_heading(line: Line, before: Line | None, after: Line | None, body: float, margins: Counter[int], is_set_apart: bool) -> bool:
    text = line.text
    is_sentence = text.endswith((".", ";", ",")) and not (line.size > 1.3 * body and len(text.split()) <= 2)  # but "Annex 1."
    if len(text) > HEADING_CHARACTERS or not any(map(str.isalpha, text)) or is_sentence:
        return False
    if _ITEM.match(text) and not _NUMBERED.match(text):
        return False
    if any(other is not None and other.page == line.page and abs(other.bottom - line.bottom) < SAME_ROW for other in (before, after)):
        return False  # a cell in a row of a table
    if not is_set_apart:
        return bool(_PLAIN_NUMBERED.match(text) or (_NAMED.match(text) and text[0].isupper()))
    if line.size > 1.12 * body or _PLAIN_NUMBERED.match(text):
        return len(text) > 2
    if REFERENCES.fullmatch(text) and text[0].isupper():
        return True
    if not line.bold or line.size < 0.95 * body or not (text[0].isupper() or text[0].isdigit()):
        return False
    common = max(margins.values()) * 0.1
    return sum(margins[round(line.left) + n] for n in (-1, 0, 1)) >= common or bool(_NUMBERED.match(text))


def _same_heading(before: Line, line: Line, right: float) -> bool:
    """Whether a line is the rest of a heading: set alike, and beginning small or with a word that the line before had no room for."""
    if (before.page != line.page or abs(before.size - line.size) > 0.6 or before.bold != line.bold or _NUMBERED.match(line.text)
            or not 0 < before.bottom - line.bottom < 2.1 * line.size):
        return False
    next_word = 0.4 * line.size * (1 + len(line.text.split(maxsplit=1)[0]))
    return line.text[0].islower() or (before.bottom - line.bottom < 1.6 * line.size and before.right + next_word > right)


def _goes_on(before: Line, line: Line, leading: float, right: float) -> bool:
    """Whether a line goes on with the paragraph of the one before."""
    if abs(before.bottom - line.bottom) < SAME_ROW and before.page == line.page:
        return True  # the next cell of a row
    ends = bool(_ENDS.search(before.text))
    small = bool(_SMALL.match(line.text))
    # A line's size is its first character's: within a sentence it may differ, as where a word in bold leads a paragraph.
    room = 0.25 * before.size if small and not ends else 0.8
    if _ITEM.match(line.text) or (abs(before.size - line.size) > room and not _ITEM.match(before.text)):
        return False
    if before.page == line.page and before.bottom > line.bottom:
        steps = (before.bottom - line.bottom) / leading - before.breaks
        if steps > 2.2 or (steps > 1.35 and not (small and not ends)):
            return False
        if small and not ends:
            return True
        if before.bold != line.bold and ends:
            return False
        is_short = before.right < right - 0.25 * (right - before.left) and not before.breaks
        indented = line.left > before.left + 5 and not _ITEM.match(before.text)
        return not (ends and (is_short or indented)) and not (is_short and before.right < before.left + 0.5 * (right - before.left))
    return not ends and (small or (before.bold == line.bold and before.right > right - 0.25 * (right - before.left)))


def _written(blocks: list[_Block]) -> list[str]:
    """The blocks as text, headings with their level: that of their number or, without one, of their size among the others."""
    headings = [block for block in blocks if block.is_heading]
    for block in headings:  # a bold paragraph is no heading
        block.is_heading = len(block.lines) <= HEADING_LINES and len(block.text) <= HEADING_CHARACTERS
    headings = [block for block in headings if block.is_heading]
    depths: dict[int, Counter[int]] = {}
    for block in headings:
        if found := _NUMBERED.match(block.text):
            depths.setdefault(round(block.lines[0].size), Counter())[found[1].count(".") + 1] += 1
    numbered = {size: counts.most_common(1)[0][0] for size, counts in depths.items()}
    sizes = sorted({round(block.lines[0].size) for block in headings}, reverse=True)
    levels: dict[int, int] = {}
    for place, size in enumerate(sizes, 1):
        near = max((other for other in numbered if other <= size + 1), default=None)
        levels[size] = numbered[near] if near is not None else max(numbered.values(), default=min(place, 4) - 1) + 1
    texts: list[str] = []
    for number, block in enumerate(blocks):
        if block.is_heading:
            if number + 1 < len(blocks) and blocks[number + 1].is_heading and blocks[number + 1].text == block.text:
                continue  # a divider's page, whose title the next page repeats
            found = _NUMBERED.match(block.text)
            level = found[1].count(".") + 1 if found else levels[round(block.lines[0].size)]
            texts.append(f"{'#' * min(level, 6)} {block.text}")
        else:
            texts.append(block.text)
        texts += block.notes
    return texts


def _without_references(blocks: list[str]) -> list[str]:
    """Blocks without the lists of references: each from its heading, past the document's first third, to an annex or a heading of its
    level or above."""
    kept: list[str] = []
    cut_level = 0
    for number, block in enumerate(blocks):
        found = heading(block)
        if found:
            level, words = found
            if REFERENCES.fullmatch(words) and number > len(blocks) / 3:
                cut_level = level
            elif cut_level and (level <= cut_level or _AFTER_REFERENCES.match(words)):
                cut_level = 0
        if not cut_level:
            kept.append(block)
    return kept
