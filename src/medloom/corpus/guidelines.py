"""Guidelines as they lie in a folder: HTML pages, PDF, Markdown and plain text, each by its suffix."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from .clean import clean, decode, one_line
from .document import Document, Drop, Origin
from .files import suffix, unpacked
from .licence import name_licence
from .pdf import read_pdf

_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)

_ERROR_PAGE = re.compile(r"[45]\d\d\b|page not found|error\b|access denied", re.IGNORECASE)


def read_guideline(data: bytes, origin: Origin) -> Document | Drop:
    """One document from the bytes of a file; a Drop with a reason where there is none in them."""
    ending = suffix(origin.name)
    if ending == ".pdf":
        return read_pdf(data, origin)
    if ending in (".html", ".htm", ".xhtml"):
        return read_html(data, origin)
    return read_text(data, origin)


def read_text(data: bytes, origin: Origin) -> Document | Drop:
    """A plain text or Markdown file: one document, its title the first # heading, else the file's name."""
    text = clean(decode(data))
    if not text:
        return origin.drop("empty")
    heading = _HEADING.search(text, 0, 2000)
    stem = unpacked(origin.name.rpartition("/")[2]).rpartition(".")[0]
    return origin.document(origin.key, text, title=one_line(heading[1]) if heading else one_line(stem))


def read_html(data: bytes, origin: Origin) -> Document | Drop:
    """The main text of a page as Markdown: headings, lists and tables kept; menus, banners and footers gone."""
    from lxml import etree, html
    from trafilatura import extract

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    try:
        tree = html.document_fromstring(decode_html(data))
    except (etree.ParserError, ValueError) as error:
        return origin.drop("empty", str(error))
    language = (tree.get("lang") or "").split("-")[0].lower() or None
    title = _title(tree)
    link = next((a.get("href") for a in tree.iter("a", "link") if "license" in (a.get("rel") or "").split()), None)
    link = link or next((meta.get("content") for meta in tree.iter("meta") if meta.get("name") in ("license", "dcterms.license")), None)
    found = extract(tree, output_format="markdown", include_tables=True, include_formatting=True, include_comments=False,
                    include_links=False, favor_recall=True, with_metadata=False)
    text = clean(found or "")
    if not text:
        return origin.drop("no-main-text")
    if _ERROR_PAGE.match(title or "") and len(text) < 1000:
        return origin.drop("error-page", title)
    document = origin.document(origin.key, text, title=title, language=language,
                               licence=(name_licence(link, "") if link else None) or origin.licence, licence_url=link)
    opening = one_line(text[:300].lstrip("# ")) or ""
    return document if not title or opening.startswith(title) else replace(document, text=f"# {title}\n\n{text}")


def decode_html(data: bytes) -> str:
    """A page as text: by the charset that it declares, where Python knows it, else as `decode` does."""
    declared = re.search(rb"<meta[^>]+charset=[\"']?([A-Za-z0-9_-]+)", data[:4096], re.IGNORECASE)
    # An XML declaration in text that is already decoded makes lxml refuse it.
    try:
        text = data.decode(declared[1].decode() if declared else "utf-8")
    except (LookupError, UnicodeDecodeError):
        text = decode(data)
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff"))


def _title(tree: object) -> str | None:
    """The page's first h1 with words in it, else its <title> without the site's name."""
    from lxml import html

    assert isinstance(tree, html.HtmlElement)
    for heading in tree.iter("h1"):
        words = one_line(str(heading.text_content()))
        if words and len(words) > 3:
            return words
    whole = one_line(tree.findtext(".//title"))
    return max(re.split(r"\s+[|»·\u2013\u2014]\s+", whole), key=len) if whole else None
