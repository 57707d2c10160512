"""PDF: the running text of a document with a text layer, as paragraphs and headings.

Gone are running heads and feet, page numbers, contents pages, line-end hyphens and the lists of references; footnotes follow the
paragraph that they stand below. Tables come out as their words in reading order; pictures not at all.
"""

from __future__ import annotations

import re

from ..document import Document, Drop, Origin
from .clean import clean, one_line
from .licence import find_licence
from .pdf_furniture import join_broken_words, without_contents, without_furniture
from .pdf_lines import Line, Reader, body_size
from .pdf_text import text_of

FRONT_PAGES = 6  # where a title page and an imprint are looked for
TITLE_CHARACTERS = 250
_COPYRIGHT = re.compile(r"(?:©|\(c\)|\bcopyright\b).{0,80}?\b((?:19|20)\d\d)\b", re.IGNORECASE)


def read_pdf(data: bytes, origin: Origin) -> Document | Drop:
    """One document from a PDF's bytes; a Drop with a reason where it cannot be opened or holds no text.

    The title is that of the file's properties, else the largest line of its first page; the year that of the copyright notice.
    """
    import pypdfium2

    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        return origin.drop("unreadable-file", str(error))
    pages: list[list[Line]] = []
    heights: list[float] = []
    reader = Reader()
    try:
        named = one_line(file.get_metadata_value("Title"))
        for number in range(len(file)):
            page = file[number]
            lines, height = reader.lines(page, number)
            pages.append(lines)
            heights.append(height)
            page.close()
    except pypdfium2.PdfiumError as error:
        return origin.drop("unreadable-file", str(error))
    finally:
        file.close()
    if not any(pages):
        return origin.drop("no-text-layer")
    body = body_size(pages)
    stem = origin.name.rpartition("/")[2].rpartition(".")[0]
    title = (named if named and " " in named else None) or _largest(pages, body) or one_line(stem)
    front = " ".join(line.text for page in pages[:FRONT_PAGES] for line in page)
    years = _COPYRIGHT.search(front)
    pages = join_broken_words(without_contents(without_furniture(pages, heights, body)))
    text = clean(text_of(pages, body))
    if not text:
        return origin.drop("no-text-layer")
    licence, address = find_licence(front)
    return origin.document(origin.key, text if text.lstrip("# ").startswith(title or "") else f"{title}\n\n{text}", title=title,
                           licence=licence or origin.licence, licence_url=address, year=int(years[1]) if years else None)


def _largest(pages: list[list[Line]], body: float) -> str | None:
    """What is set largest on the first page that has words, where it is larger than the text and reads as a title."""
    first = next((page for page in pages if page), [])
    size = max((line.size for line in first), default=0.0)
    words = one_line(" ".join(line.text for line in first if line.size > 0.95 * size))
    return words if words and " " in words and len(words) <= TITLE_CHARACTERS and size > 1.15 * body else None
