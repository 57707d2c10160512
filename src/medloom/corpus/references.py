"""A paper's reference list, taken out of its JATS before that is parsed: the list is half of a paper's elements, and all that a
text wants of it are titles and names, which are found faster than parsed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from lxml import etree

from .markup import Reference
from .xml import parse, plain_text

_ID = re.compile(rb"[^>]*?\bid\s*=\s*[\"']([^\"'>]+)[\"']")
_CITATION = re.compile(rb"<(?:(?:element|mixed|nlm)-)?citation[\s>]")
_TITLE = re.compile(rb"<((?:article|chapter|part|data)-title)\b[^>]*>(.*?)</\1>", re.DOTALL)
_SOURCE = re.compile(rb"<(source)\b[^>]*>(.*?)</\1>", re.DOTALL)
_AUTHOR = re.compile(rb"<(surname|collab)\b[^>]*>(.*?)</\1>", re.DOTALL)


class References:
    """The works of a reference list by the id of their entry, read when they are asked for."""

    def __init__(self, entries: dict[str, bytes] | None = None) -> None:
        self._entries = entries or {}
        self._works: dict[str, tuple[Reference, ...]] = {}
        self.order = list(self._entries)
        self.encoding = "utf-8"

    def works(self, id: str) -> tuple[Reference, ...]:
        """The works of one entry (mostly one); none where there is no such entry or nothing in it is marked as a title."""
        if id not in self._works:
            self._works[id] = tuple(self._read(self._entries.get(id, b"")))
        return self._works[id]

    def between(self, first: str, last: str) -> Sequence[str]:
        """The ids from one to another; both alone where the list does not hold them in this order."""
        if first in self._entries and last in self._entries:
            return self.order[self.order.index(first) : self.order.index(last) + 1] or (first, last)
        return first, last

    def _read(self, entry: bytes) -> Iterator[Reference]:
        forms = _CITATION.split(entry)[1:]
        if b"<citation-alternatives" in entry:  # one work in several forms
            forms = [b"".join(forms)]
        for form in forms:
            title = self._words(_TITLE.search(form)) or self._words(_SOURCE.search(form))
            if title:
                yield Reference(title, self._words(_AUTHOR.search(form)))

    def _words(self, found: re.Match[bytes] | None) -> str:
        if found is None:
            return ""
        if b"<" not in found[2]:
            return " ".join(html.unescape(found[2].decode(self.encoding, "replace")).split())
        try:
            return " ".join(plain_text(parse(found[0], self.encoding)).split())
        except etree.XMLSyntaxError:
            return ""


def take_references(data: bytes) -> tuple[bytes, References]:
    """A JATS file without the entries of its reference lists, and these."""
    first, *entries = data.split(b"<ref ")
    rest, found = [first], {}
    for entry in entries:
        inner, _, behind = entry.partition(b"</ref>")
        rest.append(behind)
        if id := _ID.match(inner):
            found[id[1].decode("utf-8", "replace")] = inner
    return b"".join(rest), References(found)
