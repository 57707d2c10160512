"""JATS XML: a full paper becomes one document: title, abstract, the section tree as # headings, captions, tables, formulas.

Where the text points at the literature the cited works are written (`pointers`). Left out: the reference list itself, pointers to
notes, acknowledgements, footnotes of the back matter, supplementary files, and sub-articles (reviews and replies, which are other
texts). Tag library: https://jats.nlm.nih.gov/publishing/tag-library/
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from dataclasses import replace

from lxml import etree

from ..document import Document, Drop, Origin
from ..markup import Markup
from .clean import clean
from .inline import dissolve, floats, written
from .licence import name_licence
from .references import References, take_references
from .xml import Element, child, local, parse

_XLINK = "{http://www.w3.org/1999/xlink}href"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SKIPPED = frozenset(("ref-list", "ack", "fn-group", "supplementary-material", "sub-article", "response", "graphic", "media", "label",
                      "title", "object-id", "glossary", "bio", "attrib", "permissions", "alt-text", "long-desc", "inline-graphic"))
_UNREAD = ("contrib-group", "graphic", "inline-graphic", "media", "alt-text", "long-desc")  # they may stand within a line
_SECTIONS = frozenset(("sec", "app", "boxed-text", "notes"))
_BLOCKS = frozenset(("list", "def-list", "fig", "fig-group", "table-wrap", "table-wrap-group", "disp-formula", "disp-formula-group",
                     "disp-quote", "boxed-text", "preformat"))
_SPACED = frozenset(("p", "list", "list-item", "title"))
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
# What an article calls itself, as the publication type that MEDLINE gives it, where there is no doubt.
_CATEGORIES = {"research-article": "Journal Article", "review-article": "Review", "systematic-review": "Systematic Review",
               "case-report": "Case Reports", "editorial": "Editorial", "letter": "Letter", "news": "News", "preprint": "Preprint",
               "correction": "Published Erratum", "retraction": "Retraction of Publication",
               "expression-of-concern": "Expression of Concern"}


def read_jats(data: bytes, origin: Origin) -> Document | Drop:
    """One paper from its bytes; a Drop with a reason where there is none in them."""
    try:
        data, references = take_references(data)
        root = parse(data)
    except (etree.XMLSyntaxError, ValueError) as error:
        return origin.drop("broken-xml", str(error))
    articles = [root] if local(root) == "article" else [e for e in root.iter() if local(e) == "article"]
    if not articles:
        return origin.drop("no-article", f"the root is <{local(root)}>")
    if len(articles) > 1:
        return origin.drop("several-articles", f"{len(articles)} in one file; give each a file of its own")
    article = _without_namespace(articles[0])
    meta = child(article, "front", "article-meta")
    document = origin.document(origin.key, "", language=(article.get(_LANG) or "").split("-")[0].lower() or None)
    category = _CATEGORIES.get(article.get("article-type", ""))
    if category:
        document = replace(document, categories=(category,))
    with suppress(LookupError):  # libxml2 knows names of encodings that Python does not
        references.encoding = codecs.lookup(root.getroottree().docinfo.encoding or "utf-8").name
    licence = _licence(meta) if meta is not None else (None, "")
    targets = floats(article) if origin.markup.marked else {}
    etree.strip_elements(article, *_UNREAD, with_tail=False)
    dissolve(article, origin.markup, targets)
    writer = _Writer(references, origin.markup)
    blocks: list[str] = []
    if meta is not None:
        document = _describe(document, meta, licence, writer)
        for abstract in (e for e in meta if e.tag == "abstract" and e.get("abstract-type") not in ("graphical", "toc", "teaser")):
            inner: list[str] = []
            writer.children(abstract, 2, inner)
            if any(inner):
                blocks += [writer.heading(abstract, 1) or "# Abstract", *inner]
    for part in article:
        if part.tag in ("body", "floats-group", "floats-wrap", "back"):
            writer.children(part, 1, blocks)
    text = "\n\n".join(filter(None, blocks))  # each of them is clean
    if not text:
        return origin.drop("empty", id=document.id)
    return replace(document, text=f"{document.title}\n\n{text}" if document.title else text)


def _without_namespace(article: Element) -> Element:
    """The article with bare element names, where JATS has a namespace of its own (in OAI-PMH). MathML keeps its."""
    prefix, brace, _ = str(article.tag).rpartition("}")
    if brace:
        for element in article.iter(f"{prefix}}}*"):
            element.tag = local(element)
    return article


def _describe(document: Document, meta: Element, licence: tuple[str | None, str], writer: _Writer) -> Document:
    """A document with the identifiers, title, year and licence of an article-meta."""
    identifiers = {e.get("pub-id-type", ""): (e.text or "").strip() for e in meta if e.tag == "article-id"}
    doi = identifiers.get("doi", "").lower() or None
    number = (identifiers.get("pmc") or identifiers.get("pmcid") or "").upper().removeprefix("PMC")
    title = child(meta, "title-group", "article-title")
    years = [int(found[0]) for e in meta if e.tag == "pub-date" and (year := child(e, "year")) is not None
             and (found := _YEAR.search(year.text or ""))]
    url, words = licence
    return replace(
        document, id=f"pmc:{number}" if number else f"doi:{doi}" if doi else document.id,
        title=writer.line(title) or None if title is not None else None, doi=doi, pmid=identifiers.get("pmid") or None,
        pmcid=f"PMC{number}" if number else None, year=min(years, default=None),
        licence=name_licence(url, words) or document.licence, licence_url=url)


def _licence(meta: Element) -> tuple[str | None, str]:
    """The licence's address, where one is given, and its words."""
    permissions = child(meta, "permissions")
    for licence in (e for e in (permissions if permissions is not None else ()) if local(e) == "license"):
        links = [licence.get(_XLINK), *(e.get(_XLINK) or e.text for e in licence.iter() if local(e) in ("ext-link", "license_ref", "uri"))]
        url = next((link.strip() for link in links if (link and "licen" in link) or (link and "publicdomain" in link)), None)
        return url, " ".join("".join(licence.itertext()).split())
    statement = child(permissions, "copyright-statement") if permissions is not None else None
    if statement is None:
        statement = child(meta, "copyright-statement")
    return None, " ".join("".join(statement.itertext()).split()) if statement is not None else ""


class _Writer:
    """What an article says, in the form that a Markup gives it."""

    def __init__(self, references: References, markup: Markup) -> None:
        self.markup, self.references = markup, references

    def children(self, parent: Element, depth: int, out: list[str]) -> None:
        """The children of a section, body, abstract or list item as blocks of text; `depth` is that of a heading below it."""
        for element in parent:
            self.block(element, depth, out)

    def block(self, element: Element, depth: int, out: list[str]) -> None:
        """Append what an element says to `out`, a string a block; some may be empty."""
        kind = element.tag
        if kind == "p":
            self.paragraph(element, depth, out)
        elif kind in _SKIPPED or not isinstance(kind, str):
            return
        elif kind in _SECTIONS:
            inner: list[str] = []
            self.children(element, depth + 1, inner)
            if any(inner):
                out += [self.heading(element, depth), *inner]
        elif kind == "list":
            self.items(element, out)
        elif kind == "def-list":
            for item in element.iterchildren("def-item"):
                term, meaning = child(item, "term"), child(item, "def")
                if term is not None and meaning is not None:
                    out.append(f"{self.line(term)}: {self.flat(meaning)}")
        elif kind == "fig":
            label, caption, rest = self.captioned(element)
            out.append(self.markup.figure(label, " ".join((caption, *rest)).strip()))
        elif kind == "table-wrap":
            out.append(self.markup.table(*self.captioned(element)))
        elif kind == "disp-formula":
            out.append(self.markup.formula(self.line(element)))
        elif kind == "table":
            out.append("\n".join(self.rows(element)))
        elif (element.text or "").strip():
            self.paragraph(element, depth, out)
        else:
            self.children(element, depth, out)

    def heading(self, element: Element, depth: int) -> str:
        title = child(element, "title")
        if title is None:
            title = child(element, "caption", "title")
        words = self.line(title) if title is not None else ""
        return f"{'#' * min(depth, 6)} {words}" if words else ""

    def paragraph(self, element: Element, depth: int, out: list[str]) -> None:
        """A paragraph's text, cut where a figure, table, list or displayed formula stands in it."""
        text = element.text or ""
        for inner in element:
            if inner.tag in _BLOCKS:
                out.append(self.tidy(text))
                self.block(inner, depth, out)
                text = inner.tail or ""
            else:
                text += self.inline(inner) + (inner.tail or "")
        out.append(self.tidy(text))

    def items(self, element: Element, out: list[str], level: int = 0) -> None:
        """A list's items as one block, one a line, a list within indented by two spaces; figures and tables within come behind it."""
        lines: list[str] = []
        floats: list[str] = []
        ordered = element.get("list-type", "") in ("order", "arabic", "number")
        for number, item in enumerate(element.iterchildren("list-item"), start=1):
            words: list[str] = []
            within: list[str] = []
            for part in item:
                if part.tag == "list":
                    self.items(part, within, level + 1)
                else:
                    self.block(part, 6, floats if part.tag in ("fig", "table-wrap") else words)
            mark = f"{number}." if ordered else "-"
            lines += [f"{'  ' * level}{mark} {' '.join(' '.join(words).split())}".rstrip(), *within]
        out += ["\n".join(lines), *floats]

    def captioned(self, element: Element) -> tuple[str, str, list[str]]:
        """A figure's or table's label, its caption on one line, and what else is in it: a table's rows, its foot."""
        label, caption = "", ""
        lines: list[str] = []
        for part in element:
            kind = part.tag
            if kind == "label":
                label = self.line(part)
            elif kind == "caption":
                title = child(part, "title")
                words = [self.line(title) if title is not None else "", self.flat(part)]
                caption = (". " if words[0][-1:].isalnum() and words[1] else " ").join(filter(None, words))
            elif kind in ("table", "alternatives"):
                lines += self.rows(part)
            elif kind == "table-wrap-foot":
                lines.append(self.tidy(" ".join(self.inline(p) for p in part.iter("p"))))
            else:
                self.block(part, 6, lines)
        return label, caption, lines

    def rows(self, table: Element) -> list[str]:
        """A table's rows, one a line, cells between bars. Spanned cells are not repeated."""
        rows = (" | ".join([self.inline(cell) if len(cell) else cell.text or "" for cell in row.iterchildren("td", "th")])
                for row in table.iter("tr"))
        lines = [written(f"| {cells} |", self.references, self.markup) for cells in rows]
        return [line for line in lines if line.strip("| ")]

    def flat(self, element: Element) -> str:
        """The blocks of an element on one line."""
        inner: list[str] = []
        self.children(element, 6, inner)
        return " ".join(" ".join(inner).split())

    def line(self, element: Element) -> str:
        """An element's words on one line."""
        return written(self.inline(element) if len(element) else element.text or "", self.references, self.markup)

    def tidy(self, text: str) -> str:
        """A paragraph's text on one line."""
        text = written(text, self.references, self.markup)
        return text if text[:1].isascii() else clean(text)  # it may begin with a bullet

    def inline(self, element: Element) -> str:
        """The words of an element within a line, of which `dissolve` has left those that are rare there."""
        text = element.text or ""
        for inner in element:
            if isinstance(inner.tag, str) and (inner.tag not in _SKIPPED or inner.tag == "title"):
                text += self.inline(inner)
            text += inner.tail or ""
        return f" {text} " if element.tag in _SPACED else text
