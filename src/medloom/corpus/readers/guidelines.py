"""Guidelines as they lie in a folder: HTML pages, PDF, XML, Markdown (with HTML in it, as it happens) and text, each by its suffix."""

from __future__ import annotations

import re

from ..document import Document, Drop, Origin
from .clean import clean, decode, one_line
from .files import suffix, unpacked
from .guideline_xml import read_guideline_xml
from .html import read_html
from .html_fragment import without_html
from .pdf import read_pdf

_DOT_BULLET = re.compile(r"^([ \t]*)[\u30fb\uff65][ \t]*", re.MULTILINE)  # a Japanese middle dot, where it stands for a bullet
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


def read_guideline(data: bytes, origin: Origin) -> Document | Drop:
    """One document from the bytes of a file; a Drop with a reason where there is none in them."""
    readers = {".pdf": read_pdf, ".html": read_html, ".htm": read_html, ".xhtml": read_html, ".xml": read_guideline_xml}
    reader = readers.get(suffix(origin.name))
    return reader(data, origin) if reader else _document(_DOT_BULLET.sub(r"\1- ", without_html(decode(data))), origin)


def read_text(data: bytes, origin: Origin) -> Document | Drop:
    """A plain text or Markdown file: one document, its title the first # heading, else the file's name."""
    return _document(decode(data), origin)


def _document(text: str, origin: Origin) -> Document | Drop:
    text = clean(text)
    if not text:
        return origin.drop("empty")
    heading = _HEADING.search(text, 0, 2000)
    stem = unpacked(origin.name.rpartition("/")[2]).rpartition(".")[0]
    return origin.document(origin.key, text, title=one_line(heading[1]) if heading else one_line(stem))
