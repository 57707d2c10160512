"""MEDLINE/PubMed XML: citations with an abstract become documents, citation by citation.

The file is cut at its citations and each is parsed alone, so that a broken one costs itself only. MEDLINE's Language is that of
the article; its Abstract is English even where the article is not (others stand in OtherAbstract, which is not read). So
`language` is "en" where the article is declared English and left open otherwise, for the text to decide.
Element descriptions: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from .clean import one_line
from .document import Document, Drop, Origin
from .files import chunks
from .xml import Element, child, parse, plain_text

_START = re.compile(rb"<(?:PubmedArticle|PubmedBookArticle|DeleteCitation)(?=[\s>])")
_ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([A-Za-z0-9._-]+)")
_PMID = re.compile(rb"<PMID[^>]*>\s*(\d+)")
_ARTICLE_ID = re.compile(rb'<ArticleId IdType="(\w+)">([^<]*)</ArticleId>')
_CITATION_END = b"</MedlineCitation>"
_YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")


@dataclass(frozen=True, slots=True)
class Deletion:
    """PMIDs that a file takes back: every record of them in this file or an earlier one is void."""

    pmids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Versioned:
    """A document with the version of its PMID."""

    document: Document
    version: int


def read_medline(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[Versioned | Drop | Deletion]:
    """What one MEDLINE file holds, in its order."""
    encoding = None
    for number, (kind, record) in enumerate(_records(path, faults)):
        if kind == b"head":
            found = _ENCODING.search(record)
            encoding = found[1].decode() if found and found[1].lower() not in (b"utf-8", b"utf8") else None
            continue
        pmid = _PMID.search(record)
        key = f"pmid:{pmid[1].decode()}" if pmid else f"{origin.key}#{number}"
        if kind == b"DeleteCitation":
            yield Deletion(tuple(match.decode() for match in _PMID.findall(record)))
            continue
        end = record.rfind(b"</" + kind + b">")
        if end < 0:
            yield origin.drop("broken-record", "the record does not end", key)
            continue
        if kind == b"PubmedBookArticle":
            yield origin.drop("book-record", id=key)
            continue
        if b"<AbstractText" not in record:
            yield origin.drop("no-abstract", id=key)
            continue
        # Only the citation is parsed: what follows it is mostly the list of references.
        start, cut = record.find(b"<MedlineCitation"), record.find(_CITATION_END)
        try:
            if start < 0 or cut < 0:
                raise ValueError("no whole MedlineCitation in it")
            citation = parse(record[start : cut + len(_CITATION_END)], encoding)
        except (etree.XMLSyntaxError, LookupError, ValueError) as error:
            yield origin.drop("broken-record", str(error), key)
            continue
        yield _document(citation, _identifiers(record[cut:end]), key, origin)


def _records(path: Path, faults: list[tuple[str, str]]) -> Iterator[tuple[bytes, bytes]]:
    """The file cut before each record: (b"head", bytes before the first), then (element name, bytes from its start to the next)."""
    held, searched = b"", 0
    kind = b"head"
    for chunk in chunks(path, faults):
        held += chunk
        start = 0
        for match in _START.finditer(held, searched):
            yield kind, held[start : match.start()]
            kind, start = match[0][1:], match.start()
            searched = match.end()
        # A tag may be cut by the chunk's end: look at the last bytes again.
        held, searched = held[start:], max(searched - start, len(held) - start - 20, 1 if kind != b"head" else 0)
    yield kind, held


def _identifiers(record: bytes) -> dict[str, str]:
    """The article's own identifiers by type, from the part of a record behind its citation."""
    own = record.partition(b"<ReferenceList")[0]
    return {kind.decode(): html.unescape(value.decode("utf-8", "replace")).strip() for kind, value in _ARTICLE_ID.findall(own)}


def _document(citation: Element, identifiers: dict[str, str], key: str, origin: Origin) -> Versioned | Drop:
    article, pmid = child(citation, "Article"), child(citation, "PMID")
    if article is None or pmid is None or not (pmid.text or "").strip().isdecimal():
        return origin.drop("broken-record", "no PMID or no Article in it", key)
    number = (pmid.text or "").strip()
    key = f"pmid:{number}"
    abstract = child(article, "Abstract")
    body = _abstract(abstract) if abstract is not None else ""
    if not body:
        return origin.drop("no-abstract", id=key)
    title = _title(article)
    languages = [(e.text or "").strip().lower() for e in article.iterchildren("Language")]
    copyright_note = child(abstract, "CopyrightInformation") if abstract is not None else None
    declared_doi = next((e.text for e in article.iterfind("ELocationID[@EIdType='doi']") if e.get("ValidYN") != "N"), None)
    document = origin.document(
        key, f"{title}\n\n{body}" if title else body, title=title,
        licence=origin.licence or (one_line(plain_text(copyright_note)) if copyright_note is not None else None),
        language="en" if "eng" in languages else None,
        year=_year(article), pmid=number, doi=(identifiers.get("doi") or declared_doi or "").strip().lower() or None,
        pmcid=identifiers.get("pmc") or None)
    return Versioned(document, int(pmid.get("Version") or 1))


def _abstract(abstract: Element) -> str:
    """The parts of an abstract as paragraphs, each behind its label ("METHODS: …")."""
    parts = []
    for part in abstract.iterchildren("AbstractText"):
        text, label = one_line(plain_text(part)), one_line(part.get("Label"))
        if text:
            parts.append(f"{label}: {text}" if label and label.upper() != "UNLABELLED" else text)
    return "\n\n".join(parts)


def _title(article: Element) -> str | None:
    """The title; square brackets round it only say that it was translated. The vernacular one where there is no other."""
    for tag in ("ArticleTitle", "VernacularTitle"):
        element = child(article, tag)
        title = one_line(plain_text(element)) if element is not None else None
        if title and title.strip("[]. ").lower() not in ("", "not available", "in process citation"):
            bracketed = re.fullmatch(r"\[(.*)\](\.?)", title)
            return bracketed[1].rstrip(".") + "." if bracketed else title
    return None


def _year(article: Element) -> int | None:
    for path in ("Journal/JournalIssue/PubDate/Year", "Journal/JournalIssue/PubDate/MedlineDate", "ArticleDate/Year"):
        found = _YEAR.search(article.findtext(path) or "")
        if found:
            return int(found[0])
    return None
