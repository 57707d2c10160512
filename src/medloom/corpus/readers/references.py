"""A paper's reference list, taken out of its JATS before that is parsed: the list is half of a paper's elements, and all that a
text wants of it are titles and names, which are found faster than parsed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from lxml import etree

from ..markup import Reference
from .xml import parse, plain_text

_ID = re.compile(rb"[^>]*?\bid\s*=\s*[\"']([^\"'>]+)[\"']")
# Of a book there may be the source only.
_TITLES = [re.compile(rb"<%b\b[^>]*>([^<]*+(?:<(?!/%b)[^<]*+)*+)</" % (tag, tag))
           for tag in (b"article-title", b"chapter-title", b"part-title", b"data-title", b"source")]
_STYLE = re.compile(rb"</?(?:italic|bold|sub)\b[^>]*>")
_AUTHOR = re.compile(rb"<(?:surname|collab(?!-))[^>]*>(.*?)</(?:surname|collab)", re.DOTALL)


class References:
    """The works of a reference list by the id of their entry, read when they are asked for."""

    def __init__(self, entries: dict[str, bytes] | None = None) -> None:
        self._entries = entries or {}
        self._works: dict[str, tuple[Reference, ...]] = {}
        self.order = list(self._entries)
        self.encoding = "utf-8"

    def works(self, id: str) -> tuple[Reference, ...]:
        """The works of one entry (mostly one); none where there is no such entry or nothing in it is marked as a title."""
        works = self._works.get(id)
        if works is None:
            works = self._works[id] = tuple(self._read(self._entries.get(id, b"")))
        return works

    def between(self, first: str, last: str) -> Sequence[str]:
        """The ids from one to another; both alone where the list does not hold them in this order."""
        if first in self._entries and last in self._entries:
            return self.order[self.order.index(first) : self.order.index(last) + 1] or (first, last)
        return first, last

    def _read(self, entry: bytes) -> Iterator[Reference]:
        forms = entry.split(b"citation>")  # the end of an element-citation, mixed-citation, nlm-citation or citation
        for form in forms[:-1] or forms:
            for pattern in _TITLES:
                if (found := pattern.search(form)) and (title := self._words(found[1])):
                    author = _AUTHOR.search(form)
                    yield Reference(title, self._words(author[1]) if author else "")
                    break
            else:
                continue
            if b"<citation-alternatives" in entry:  # the others are the same work in other forms
                return

    def _words(self, words: bytes) -> str:
        if b"<" in words:
            words = _STYLE.sub(b"", words)
        if b"<" not in words:
            text = words.decode(self.encoding, "replace")
            return text if "&" not in text and text.isprintable() else " ".join(html.unescape(text).split())
        try:
            return " ".join(plain_text(parse(b"<a>%b</a>" % words, self.encoding)).split())
        except etree.XMLSyntaxError:
            return ""


def take_references(data: bytes) -> tuple[bytes, References]:
    """A JATS file without the entries of its reference lists, and these."""
    first, *entries = data.split(b"<ref ")
    rest, found = [first], {}
    for entry in entries:
        inner, end, behind = entry.partition(b"</ref>")
        rest.append(behind if end else b"<ref " + entry)  # an empty element, or damage, which the parser will name
        if end and (id := _ID.match(inner)):
            found[id[1].decode("utf-8", "replace")] = inner
    return b"".join(rest), References(found)
