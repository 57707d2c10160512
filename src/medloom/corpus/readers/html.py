"""HTML pages: the main text as Markdown, headings, lists and tables kept; menus, banners, footers and the list of references gone."""

from __future__ import annotations

import logging
import re
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from ..document import Document, Drop, Origin
from .clean import clean, decode, one_line
from .html_fragment import escape_comparisons
from .licence import name_licence
from .sections import REFERENCES, without_sections
from .xml import local, raised

_ERROR_PAGE = re.compile(r"[45]\d\d\b|page not found|error\b|access denied", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
_DATES = ("citation_publication_date", "citation_date", "article:published_time", "datepublished", "dcterms.issued", "dc.date.issued",
          "dcterms.date", "dc.date", "pubdate", "date")
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]()<>#+.!~-])")
_SLANTED = ("strong", "b", "em", "i", "u", "sub", "sup")
_SENTENCE_ENDS = (".", ";", ":", ",", "!", "?")
HEADING_CHARACTERS = 100
ERROR_CHARACTERS = 1000


def read_html(data: bytes, origin: Origin) -> Document | Drop:
    """One document from a page's bytes; a Drop with a reason where it holds no text or reports an error."""
    from trafilatura import extract

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        tree = lxml_html.document_fromstring(escape_comparisons(decode_html(data)))
    except (etree.ParserError, ValueError) as error:
        return origin.drop("empty", str(error))
    language = (tree.get("lang") or "").split("-")[0].lower() or None
    title = _title(tree)
    is_error = bool(_ERROR_PAGE.match(title or ""))
    meta = {(e.get("name") or e.get("property") or e.get("itemprop") or "").lower(): e.get("content") or "" for e in tree.iter("meta")}
    link = next((a.get("href") for a in tree.iter("a", "link") if "license" in (a.get("rel") or "").split()), None)
    link = link or meta.get("license") or meta.get("dcterms.license") or None
    year = next((int(found[0]) for name in _DATES if (found := _YEAR.search(meta.get(name) or ""))), None)
    _plain_marks(tree)
    # `fast` leaves out a second and third opinion on where the text is, which a page without any would always ask for.
    main = extract(tree, output_format="markdown", include_tables=True, include_formatting=True, include_comments=False,
                    include_links=False, favor_recall=True, with_metadata=False, fast=is_error)
    main = _ESCAPED.sub(r"\1", main or "")
    text = clean("\n".join(without_sections(main.split("\n"), lambda words: bool(REFERENCES.fullmatch(words)))))
    if is_error and len(text) < ERROR_CHARACTERS:
        return origin.drop("error-page", title)
    if not text:
        return origin.drop("no-main-text")
    opening = one_line(text[:300].lstrip("# ")) or ""
    return origin.document(
        origin.key, text if not title or opening.startswith(title) else f"# {title}\n\n{text}", title=title, language=language, year=year,
        licence=(name_licence(link, "") if link else None) or origin.licence, licence_url=link)


def decode_html(data: bytes) -> str:
    """A page as text: by the charset that it declares, where Python knows it, else as `decode` does.

    Latin-1 means Windows-1252, as to browsers. What a parser would not take is left out: controls, and an XML declaration.
    """
    declared = re.search(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_-]+)", data[:4096], re.IGNORECASE)
    charset = declared[1].decode().lower() if declared else "utf-8"
    try:
        text = data.decode("cp1252" if charset in ("iso-8859-1", "latin1", "us-ascii", "ascii") else charset)
    except (LookupError, UnicodeError):
        text = decode(data)
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", _UNFIT.sub("", text).lstrip("\ufeff"))


def _title(tree: Any) -> str | None:
    """The page's first h1 with words in it, else its <title> without the site's name."""
    for heading in tree.iter("h1"):
        words = one_line(str(heading.text_content()))
        if words and len(words) > 3:
            return words
    whole = one_line(tree.findtext(".//title"))
    return max(re.split(r"\s+[|»·\u2013\u2014]\s+", whole), key=len) if whole else None


def _plain_marks(tree: Any) -> None:
    """In place: a paragraph that is all bold becomes a heading below the last one, other marks of emphasis leave their words.

    Else they would stand in the text as ** and <sup>. What stands below one another in a cell, which becomes one line, is kept apart
    by a colon or semicolon.
    """
    level = 1
    for element in tree.iter("h1", "h2", "h3", "h4", "h5", "h6", "p"):
        if element.tag != "p":
            level = int(element.tag[1])
        elif _is_all_bold(element):
            if _is_in(element, ("td", "th")):
                if element.getnext() is not None:
                    _append(element, ":")
            elif not _is_in(element, ("li",)):
                element.tag = f"h{min(level + 1, 6)}"
    for cell in tree.iter("td", "th"):
        for element in cell.iter("li", "p"):
            if element.getnext() is not None:
                _append(element, ";")
    for element in list(tree.iter(*_SLANTED)):
        if element.getparent() is not None:
            if element.tag == "sup":
                previous = element.getprevious()
                before = (element.getparent().text if previous is None else previous.tail) or ""
                element.text = raised(before.rstrip(), element.text_content())
                del element[:]
            element.drop_tag()


def _is_in(element: Any, names: tuple[str, ...]) -> bool:
    return any(local(e) in names for e in element.iterancestors())


def _append(element: Any, mark: str) -> None:
    """Put a mark at the end of an element's words, where they end in none."""
    words = element.text_content().rstrip()
    if words and not words.endswith(_SENTENCE_ENDS):
        if len(element):
            element[-1].tail = (element[-1].tail or "").rstrip() + mark
        else:
            element.text = element.text.rstrip() + mark


def _is_all_bold(paragraph: Any) -> bool:
    inner = [e for e in paragraph if local(e) != "br"]
    if not inner or any(local(e) not in ("strong", "b") for e in inner) or (paragraph.text or "").strip():
        return False
    words = one_line(paragraph.text_content()) or ""
    return (not any((e.tail or "").strip() for e in paragraph) and len(words) <= HEADING_CHARACTERS
            and any(c.isalpha() for c in words) and not words.endswith(_SENTENCE_ENDS))
