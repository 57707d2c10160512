"""JATS XML: a full paper becomes one document: title, abstract, the section tree as # headings, captions, tables, formulas.

Left out: references and the numbers that point at them, acknowledgements, footnotes of the back matter, supplementary files,
and sub-articles (reviews and replies, which are other texts). Tag library: https://jats.nlm.nih.gov/publishing/tag-library/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lxml import etree

from .clean import clean, one_line
from .document import Document, Drop, Origin
from .licence import name_licence
from .mathml import linear
from .xml import Element, child, local, parse, raised

_XLINK = "{http://www.w3.org/1999/xlink}href"
_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_SKIPPED = {"ref-list", "ack", "fn-group", "supplementary-material", "sub-article", "response", "graphic", "media", "label", "title",
            "object-id", "glossary", "bio", "attrib", "permissions", "alt-text", "long-desc", "inline-graphic"}
_SECTIONS = {"sec", "app", "boxed-text", "notes"}
_BLOCKS = {"list", "def-list", "fig", "fig-group", "table-wrap", "table-wrap-group", "disp-formula", "disp-formula-group", "disp-quote",
           "boxed-text", "preformat"}
_POINTERS = {"bibr", "ref", "fn", "table-fn", "aff", "corresp", "author-notes"}
_MARK = "\0"  # where a pointer to a reference or note stood, until the paragraph is whole
_ONLY_A_NUMBER = re.compile(r"[\s\[\](),;.*\u2020\u2021\u00a7\d\u2010-\u2015-]*[a-z]?$")
_BRACKETED = re.compile(r"\s?[\[(][\s,;\u2010-\u2015-]*\0[\s\0,;\u2010-\u2015-]*[\])]")
_BARE = re.compile(r"\0(?:[\s,;\u2010-\u2015-]*\0)*")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


def read_jats(data: bytes, origin: Origin) -> Document | Drop:
    """One paper from its bytes; a Drop with a reason where there is none in them."""
    try:
        root = parse(data)
    except (etree.XMLSyntaxError, ValueError) as error:
        return origin.drop("broken-xml", str(error))
    article = root if local(root) == "article" else next((e for e in root.iter() if local(e) == "article"), None)
    if article is None:
        return origin.drop("no-article", f"the root is <{local(root)}>")
    meta = child(article, "front", "article-meta")
    document = origin.document(origin.key, "", language=(article.get(_LANG) or "").split("-")[0].lower() or None)
    if meta is not None:
        document = _describe(document, meta)
    body = child(article, "body")
    blocks: list[str] = []
    if meta is not None:
        for abstract in (e for e in meta if local(e) == "abstract" and e.get("abstract-type") not in ("graphical", "toc", "teaser")):
            inner = list(_blocks(abstract, 2))
            if inner:
                blocks += [_heading(abstract, 1) or "# Abstract", *inner]
    for part in (body, child(article, "floats-group"), child(article, "back")):
        if part is not None:
            blocks += _blocks(part, 1)
    text = clean("\n\n".join(block for block in blocks if block.strip()))
    if not text:
        return origin.drop("empty", id=document.id)
    return replace(document, text=f"{document.title}\n\n{text}" if document.title else text)


def _describe(document: Document, meta: Element) -> Document:
    """A document with the identifiers, title, year and licence of an article-meta."""
    identifiers = {e.get("pub-id-type", ""): (e.text or "").strip() for e in meta if local(e) == "article-id"}
    doi = identifiers.get("doi", "").lower() or None
    number = (identifiers.get("pmc") or identifiers.get("pmcid") or "").upper().removeprefix("PMC")
    title = child(meta, "title-group", "article-title")
    years = [int(found[0]) for e in meta if local(e) == "pub-date" and (year := child(e, "year")) is not None
             and (found := _YEAR.search(year.text or ""))]
    url, words = _licence(meta)
    return replace(
        document, id=f"pmc:{number}" if number else f"doi:{doi}" if doi else document.id,
        title=one_line(_tidy(_inline(title))) if title is not None else None, doi=doi, pmid=identifiers.get("pmid") or None,
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


def _blocks(parent: Element, depth: int) -> Iterator[str]:
    """The children of a section, body, abstract or list item as blocks of text; `depth` is that of a heading below it."""
    for element in parent:
        yield from _block(element, depth)


def _block(element: Element, depth: int) -> Iterator[str]:
    kind = local(element)
    if kind in _SKIPPED or not kind:
        return
    if kind in _SECTIONS:
        inner, heading = list(_blocks(element, depth + 1)), _heading(element, depth)
        if inner:
            yield from [heading, *inner] if heading else inner
    elif kind == "p":
        yield from _paragraph(element, depth)
    elif kind == "list":
        yield "\n".join(_items(element, 0))
    elif kind == "def-list":
        for item in (e for e in element if local(e) == "def-item"):
            term, meaning = child(item, "term"), child(item, "def")
            if term is not None and meaning is not None:
                yield f"{_tidy(_inline(term))}: {' '.join(_blocks(meaning, depth))}"
    elif kind in ("fig", "table-wrap"):
        yield _float(element)
    elif kind == "disp-formula":
        yield _tidy(_formula(element))
    elif kind == "table":
        yield _table(element)
    elif kind in ("verse-line", "preformat", "code", "speaker"):
        yield _tidy(_inline(element))
    else:
        yield from _blocks(element, depth)


def _heading(element: Element, depth: int) -> str:
    title = child(element, "title")
    if title is None:
        title = child(element, "caption", "title")
    words = _tidy(_inline(title)) if title is not None else ""
    return f"{'#' * min(depth, 6)} {words}" if words else ""


def _paragraph(element: Element, depth: int) -> Iterator[str]:
    """A paragraph's text, cut where a figure, table, list or displayed formula stands in it."""
    text = element.text or ""
    for inner in element:
        if local(inner) in _BLOCKS:
            yield _tidy(text)
            yield from _block(inner, depth)
            text = inner.tail or ""
        else:
            text += _part(inner, text) + (inner.tail or "")
    yield _tidy(text)


def _items(element: Element, level: int) -> Iterator[str]:
    """A list's items, one a line; a list within is indented by two spaces."""
    ordered = element.get("list-type", "") in ("order", "arabic", "number")
    for number, item in enumerate((e for e in element if local(e) == "list-item"), start=1):
        within = [e for e in item if local(e) == "list"]
        words = " ".join(block for part in item if local(part) != "list" for block in _block(part, 6) if block)
        yield f"{'  ' * level}{f'{number}.' if ordered else '-'} {' '.join(words.split())}"
        for inner in within:
            yield from _items(inner, level + 1)


def _float(element: Element) -> str:
    """A figure's or table's label and caption on one line, a table's rows and foot below."""
    label, caption = child(element, "label"), child(element, "caption")
    words = [_tidy(_inline(label)).rstrip(".:") + "." if label is not None else ""]
    if caption is not None:
        title = child(caption, "title")
        words += [_tidy(_inline(title)) if title is not None else "", *_blocks(caption, 6)]
    lines = [" ".join(" ".join(words).split())]
    lines += [_table(table) for table in element.iter() if local(table) == "table"]
    foot = child(element, "table-wrap-foot")
    if foot is not None:
        lines.append(" ".join(_tidy(_inline(p)) for p in foot.iter() if local(p) == "p"))
    return "\n".join(line for line in lines if line)


def _table(table: Element) -> str:
    """A table's rows, one a line, cells between bars. Spanned cells are not repeated."""
    rows = ([_tidy(_inline(cell)) for cell in row if local(cell) in ("td", "th")] for row in table.iter() if local(row) == "tr")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows if any(cells))


def _inline(element: Element) -> str:
    text = element.text or ""
    for inner in element:
        text += _part(inner, text) + (inner.tail or "")
    return text


def _part(element: Element, before: str) -> str:
    """The text of an element within a line."""
    kind = local(element)
    if kind == "xref" and element.get("ref-type") in _POINTERS:
        words = _inline(element)
        return _MARK if _ONLY_A_NUMBER.match(words.replace(_MARK, "")) else words
    if kind in ("inline-formula", "disp-formula", "math", "tex-math", "alternatives"):
        return _formula(element)
    if kind == "sup":
        words = _inline(element)
        return raised(before, words) if _MARK not in words else _MARK
    if kind in ("break", "p", "list", "list-item", "title"):
        return f" {_inline(element)} "
    return "" if kind in _SKIPPED or not kind else _inline(element)


def _formula(element: Element) -> str:
    """A formula on one line: from MathML where there is some, else from TeX, else what words it holds."""
    for part in element.iter():
        if local(part) == "math":
            return linear(part)
    for part in element.iter():
        if local(part) == "tex-math":
            tex = part.text or ""
            body = re.search(r"\\begin\{document\}(.*)\\end\{document\}", tex, re.DOTALL)
            return " ".join((body[1] if body else tex).split()).strip("$ ")
    return _inline(element)


def _tidy(text: str) -> str:
    """One line of text without what is left of pointers: "shown [1,2]." becomes "shown."."""
    if _MARK in text:
        text = _BARE.sub(_MARK, _BRACKETED.sub(_MARK, text))
        for stop in ".,;:":
            text = text.replace(f" {_MARK}{stop}", stop)
        text = text.replace(_MARK, "")
    return " ".join(text.split())
