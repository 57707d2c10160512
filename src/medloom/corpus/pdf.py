"""PDF: the running text of a document with a text layer, as paragraphs and numbered headings.

Gone are running heads and feet, page numbers, contents pages, line-end hyphens and the list of references. Tables come out as
their words in reading order; pictures not at all. Text is from pdfium, which marks a line-end hyphen as U+0002.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from statistics import median

from .clean import clean, one_line
from .document import Document, Drop, Origin
from .licence import find_licence

EDGE_LINES = 4
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
_PAGE_NUMBER = re.compile(r"^[\s|\u2013-]*(?:page\s+)?(?:\d{1,4}|[ivxlc]{1,7})(?:\s+of\s+\d+)?[\s|\u2013-]*$", re.IGNORECASE)
_LEADERS = re.compile(r"(?:\.\s?){4,}\s*(?:\d{1,4}|[ivxlc]{1,7})\s*$", re.IGNORECASE)
_ENDS_IN_NUMBER = re.compile(r"\S\s+(?:\d{1,3}|[ivxlc]{1,6})$")
_NUMBERED = re.compile(r"^(\d{1,2}(?:\.\d{1,2}){0,4})\.?\s+[A-Z][^.;:]{2,90}$")
_NAMED = re.compile(r"^(?:abstract|background|introduction|methods|results|discussion|conclusions?|recommendations?|acknowledge?ments"
                    r"|executive summary|glossary|abbreviations(?: and acronyms)?|foreword|annex(?:es)?\b.{0,80}|appendix\b.{0,80})$",
                    re.IGNORECASE)
_REFERENCES = re.compile(r"^(?:\d{1,2}\.?\s+)?(?:references?|bibliography|reference list|literature cited)$", re.IGNORECASE)
_AFTER_REFERENCES = re.compile(r"^(?:annex(?:es)?|appendix|appendices|glossary|supplement)\b", re.IGNORECASE)
_BROKEN_WORD = re.compile(r"(\w+)[\x02\ufffe]\s*(\w+)")
_WORD = re.compile(r"[^\W\d_]{2,}")
_BULLET = re.compile(r"^(?:[•●▪■◦‣∙·\u2013-]|\(?[a-z0-9]{1,2}\)|\d{1,2}\.)\s")


def read_pdf(data: bytes, origin: Origin) -> Document | Drop:
    """One document from a PDF's bytes; a Drop with a reason where it cannot be opened or holds no text."""
    import pypdfium2

    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        return origin.drop("unreadable-file", str(error))
    try:
        title = one_line(file.get_metadata_value("Title"))
        pages = []
        for number in range(len(file)):
            page = file[number]
            text = page.get_textpage()
            pages.append(text.get_text_bounded().replace("\r\n", "\n").replace("\r", "\n"))
            text.close()
            page.close()
    except pypdfium2.PdfiumError as error:
        return origin.drop("unreadable-file", str(error))
    finally:
        file.close()
    text = clean(_running_text(pages))
    if not text:
        return origin.drop("no-text-layer")
    stem = origin.name.rpartition("/")[2].rpartition(".")[0]
    name_found, address = find_licence(text[:20_000])
    document = origin.document(origin.key, text, licence=name_found or origin.licence, licence_url=address,
                               title=title if title and " " in title else one_line(stem))
    return replace(document, text=f"{document.title}\n\n{text}")


def _running_text(pages: list[str]) -> str:
    text = join_broken_words("\f".join(pages))
    split = [[line.strip() for line in page.split("\n") if line.strip()] for page in text.split("\f")]
    kept = [line for page in strip_edges(split) if not is_contents(page) for line in page if not _LEADERS.search(line)]
    return "\n\n".join(paragraphs(cut_references(kept)))


def join_broken_words(text: str) -> str:
    """Words that a line end broke, whole again.

    A hyphen of the word's own is kept: where the joined form stands nowhere else in the document and both halves do.
    """
    known = Counter(word.lower() for word in _WORD.findall(text))

    def join(match: re.Match[str]) -> str:
        left, right = match[1], match[2]
        whole = (left + right).lower()
        if not known[whole] and known[left.lower()] > 1 and known[right.lower()] > 1:
            return f"{left}-{right}"
        return left + right

    return _BROKEN_WORD.sub(join, text).replace("\x02", "-").replace("\ufffe", "-")


def strip_edges(pages: list[list[str]]) -> list[list[str]]:
    """Pages without running heads and feet: edge lines that recur, numbers aside, on three pages or more, and page numbers."""
    def form(line: str) -> str:
        return _DIGITS.sub("#", line.lower())

    seen = Counter(form(line) for page in pages for line in {*page[:EDGE_LINES], *page[-EDGE_LINES:]} if len(line) < 120)

    def runs(line: str) -> bool:
        return bool(_PAGE_NUMBER.match(line)) or (seen[form(line)] >= 3 and not _BULLET.match(line))

    stripped = []
    for page in pages:
        start, stop = 0, len(page)
        while start < min(EDGE_LINES, stop) and runs(page[start]):
            start += 1
        while stop > max(start, len(page) - EDGE_LINES) and runs(page[stop - 1]):
            stop -= 1
        stripped.append(page[start:stop])
    return stripped


def is_contents(page: list[str]) -> bool:
    """Whether a page is a table of contents: most of its lines end in dot leaders or, under that heading, in a page number."""
    if len(page) < 4:
        return False
    leaders = sum(bool(_LEADERS.search(line)) for line in page)
    if leaders >= 0.4 * len(page):
        return True
    named = any(line.lower().rstrip(".") in ("contents", "table of contents") for line in page)
    return named and sum(bool(_ENDS_IN_NUMBER.search(line)) for line in page) >= 0.5 * len(page)


def cut_references(lines: list[str]) -> list[str]:
    """Lines without the list of references: from its heading, in the latter part of the document, to an annex or the end."""
    kept: list[str] = []
    cutting = False
    for number, line in enumerate(lines):
        if _REFERENCES.match(line) and number > 0.3 * len(lines):
            cutting = True
        elif cutting and _AFTER_REFERENCES.match(line) and len(line) < 100:
            cutting = False
        if not cutting:
            kept.append(line)
    return kept


def paragraphs(lines: list[str]) -> list[str]:
    """Lines joined into paragraphs; numbered and well-known headings become # headings."""
    if not lines:
        return []
    full = median(sorted(map(len, lines))[len(lines) // 2 :])
    blocks: list[str] = []
    is_open = False
    for line in lines:
        numbered = _NUMBERED.match(line) if len(line) < 0.9 * full else None
        if numbered or (_NAMED.match(line) and line[0].isupper()):
            blocks.append("#" * min(1 + numbered[1].count(".") if numbered else 1, 6) + f" {line}")
            is_open = False
            continue
        if is_open and not _BULLET.match(line):
            blocks[-1] += f" {line}"
        else:
            blocks.append(line)
        is_open = (len(line) >= 0.7 * full and not line.endswith((".", "!", "?", ":"))) or len(line) >= 0.92 * full
    return blocks
