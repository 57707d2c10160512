"""XML from strangers: a parser that resolves nothing and fetches nothing, and text with its superscripts kept apart."""

from __future__ import annotations

import html.entities
import re
from functools import cache, lru_cache

from lxml import etree

Element = etree._Element

_NAMED = re.compile(rb"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31});")
NUMBER = re.compile(r"[+\-\u2212\u2013]?\d+(?:[.,]\d+)?$")


def parse(data: bytes, encoding: str | None = None) -> Element:
    """The root of an XML document. Raises etree.XMLSyntaxError for what is not XML, LookupError for an unknown encoding.

    Entities are not resolved, DTDs not loaded, limits on depth and size not lifted. The named characters of HTML (&alpha;), which
    the DTDs of journals define, are put in beforehand.
    """
    return etree.fromstring(_NAMED.sub(_named, data), _parser(encoding))


@cache
def _parser(encoding: str | None) -> etree.XMLParser:
    """One parser for all documents: to make one costs as much as a short record."""
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False,
                           remove_comments=True, remove_pis=True, encoding=encoding)


def _named(match: re.Match[bytes]) -> bytes:
    character = html.entities.html5.get(match[1].decode() + ";")
    return "".join(f"&#{ord(c)};" for c in character).encode() if character else match[0]


def local(element: Element) -> str:
    """An element's name without its namespace; empty for entities and the like."""
    return bare(element.tag)  # type: ignore[arg-type]  # a string, or a function in place of a name


@lru_cache(1024)
def bare(tag: object) -> str:
    """A tag without its namespace."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def child(element: Element, *names: str) -> Element | None:
    """The element at the end of a path of local names, the first of each, or None."""
    for name in names:
        found = next((e for e in element if local(e) == name), None)
        if found is None:
            return None
        element = found
    return element


def raised(before: str, text: str) -> str:
    """A superscript after some text. A number keeps apart (10^9, kg/m^2), or 10 to the 9th would read 109; other marks just follow."""
    text = text.strip()
    return f"^{text}" if NUMBER.match(text) and before[-1:] and (before[-1].isalnum() or before[-1] in ")]") else text


def plain_text(element: Element) -> str:
    """The text of an element and all below it, superscripts by `raised`, white space as it stands."""
    text = element.text or ""
    for inner in element:
        text += raised(text, plain_text(inner)) if local(inner) == "sup" else plain_text(inner) if local(inner) else ""
        text += inner.tail or ""
    return text
