"""MEDLINE/PubMed XML: citations with an abstract become documents, citation by citation.

The file is cut at its citations and each is parsed alone, so that a broken one costs itself only. MEDLINE's Language is that of the
article; its Abstract is English even where the article is not, so `language` is "en" where the article is declared English and left
open otherwise, for the text to decide. OtherAbstract stands in where there is no Abstract, with the language that it declares.
Element descriptions: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from ..document import Document, Drop, Origin
from .clean import one_line
from .files import chunks
from .xml import Element, parse, plain_text

_RECORD, _END = b"<PubmedArticle", b"</PubmedArticle>"
_AFTER_NAME = (b">", b" ", b"\t", b"\n", b"\r")  # else it is a PubmedArticleSet
_OTHER_RECORD = re.compile(rb"<(PubmedBookArticle|DeleteCitation)[\s>].*?(?:</\1>|\Z)", re.DOTALL)
_ENCODING = re.compile(rb"<\?xml[^>]*encoding=[\"']([A-Za-z0-9._-]+)")
_PMID = re.compile(rb"<PMID(?:\s[^>]*?Version=\"(\d+)\")?[^>]*>\s*(\d+)\s*<")
_ARTICLE_ID = re.compile(rb'<ArticleId IdType="(\w+)">([^<]*)</ArticleId>')
_OTHER_ABSTRACT = re.compile(rb"<OtherAbstract\b.*?</OtherAbstract>", re.DOTALL)
_ARTICLE_END = b"</Article>"
_ANIMALS = b">Animals</DescriptorName>"
_YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")
# MEDLINE's codes of languages (those of library catalogues) in ISO 639-1.
_LANGUAGES = dict(re.findall(
    r"(\w+):(\w+)",
    "afr:af ara:ar bul:bg cat:ca chi:zh zho:zh cze:cs ces:cs dan:da dut:nl nld:nl eng:en est:et fin:fi fre:fr fra:fr ger:de deu:de "
    "gre:el ell:el heb:he hin:hi hrv:hr hun:hu ice:is isl:is ind:id ita:it jpn:ja kor:ko lav:lv lit:lt mac:mk mkd:mk may:ms msa:ms "
    "nob:nb nor:no per:fa fas:fa pol:pl por:pt rum:ro ron:ro rus:ru slo:sk slk:sk slv:sl spa:es srp:sr swe:sv tha:th tur:tr ukr:uk "
    "vie:vi"))


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
    """What one MEDLINE file holds, in its order. Damage to the file itself is appended to `faults` as (reason, detail)."""
    pieces = _pieces(path, faults)
    piece = next(pieces)
    found = _ENCODING.search(piece)
    encoding = found[1].decode() if found and found[1].lower() not in (b"utf-8", b"utf8") else None
    number = 0
    for piece in pieces:
        end = -1
        if piece[:1] in _AFTER_NAME:
            yield _article(piece, encoding, f"{origin.key}#{number}", origin)
            number, end = number + 1, piece.rfind(_END)
        between = piece[end + len(_END) :] if end >= 0 else piece
        for other in _OTHER_RECORD.finditer(between) if b"<" in between else ():
            pmids = tuple(match[2].decode() for match in _PMID.finditer(other[0]))
            if other[1] == b"DeleteCitation":
                yield Deletion(pmids)
            else:
                yield origin.drop("book-record", id=f"pmid:{pmids[0]}" if pmids else f"{origin.key}#{number}")
            number += 1
    if not faults and not number:
        faults.append(("no-record", "no PubmedArticle in it; format 'medline' reads PubmedArticleSet files"))
    elif not faults and b"</PubmedArticleSet" not in piece:
        faults.append(("truncated-file", "the file ends before its PubmedArticleSet does"))


def _pieces(path: Path, faults: list[tuple[str, str]]) -> Iterator[bytes]:
    """The file cut at each "<PubmedArticle", which is not given: what stands before them all, then piece by piece."""
    held = b""
    for chunk in chunks(path, faults):
        *whole, held = (held + chunk).split(_RECORD)
        yield from whole
    yield held


def _article(record: bytes, encoding: str | None, key: str, origin: Origin) -> Versioned | Drop:
    """The document of one record, which begins behind the name of its element and goes on to the next one's."""
    start, end = record.find(b"<Article"), record.find(_ARTICLE_END)
    found = _PMID.search(record, 0, max(start, 0))  # later ones are those of comments and corrections
    number, version = (found[2].decode(), int(found[1] or 1)) if found else ("", 1)
    key = f"pmid:{number}" if number else key
    if _END not in record:
        return origin.drop("broken-record", "the record does not end", key)
    if b"<AbstractText" not in record:
        return origin.drop("no-abstract", id=key)
    # Only the article is parsed: what follows it is mostly headings and the list of references.
    try:
        if not number or start < 0 or end < start:
            raise ValueError("no PMID or no whole Article in it")
        article = parse(record[start : end + len(_ARTICLE_END)], encoding)
        others = [parse(other, encoding) for other in _OTHER_ABSTRACT.findall(record, end)] if b"<OtherAbstract" in record else []
    except (etree.XMLSyntaxError, LookupError, ValueError) as error:
        return origin.drop("broken-record", str(error), key)
    parts: dict[str, list[Element]] = {}
    for element in article:
        parts.setdefault(str(element.tag), []).append(element)
    languages = [(e.text or "").strip().lower() for e in parts.get("Language", ())]
    language = "en" if "eng" in languages else None
    abstract = next(iter(parts.get("Abstract", ())), None)
    body = _body(abstract) if abstract is not None else ""
    if not body and others:
        # English before other languages: the title is English too.
        abstract = min(others, key=lambda other: (not _body(other), other.get("Language", "eng") != "eng"))
        body, language = _body(abstract), _LANGUAGES.get(abstract.get("Language", "eng").lower())
    if abstract is None or not body:
        return origin.drop("no-abstract", id=key)
    title = _title(parts, vernacular=not (language == "en" or abstract.tag == "Abstract"))
    identifiers = _identifiers(record, end)
    declared_doi = next((e.text for e in parts.get("ELocationID", ()) if e.get("EIdType") == "doi" and e.get("ValidYN") != "N"), None)
    notice = next(abstract.iterchildren("CopyrightInformation"), None)
    categories = [words for kinds in parts.get("PublicationTypeList", ()) for kind in kinds if (words := one_line(kind.text))]
    if record.find(_ANIMALS, end) >= 0:
        categories.append("Animals")
    document = origin.document(
        key, f"{title}\n\n{body}" if title else body, title=title,
        licence=origin.licence or (one_line(plain_text(notice)) if notice is not None else None), language=language,
        year=_year(parts), pmid=number, doi=(identifiers.get("doi") or declared_doi or "").strip().lower() or None,
        pmcid=identifiers.get("pmc") or None, categories=tuple(categories))
    return Versioned(document, version)


def _identifiers(record: bytes, end: int) -> dict[str, str]:
    """The article's own identifiers by type: they stand behind the Article, before the list of references and theirs."""
    start, references = record.find(b"<ArticleIdList", end), record.find(b"<ReferenceList", end)
    if start < 0 or 0 <= references < start:
        return {}
    own = _ARTICLE_ID.findall(record, start, record.find(b"</ArticleIdList", start))
    return {kind.decode(): html.unescape(value.decode("utf-8", "replace")).strip() for kind, value in own}


def _body(abstract: Element) -> str:
    """The parts of an abstract as paragraphs, each behind its label ("METHODS: …")."""
    parts = []
    for part in abstract.iterchildren("AbstractText"):
        text, label = one_line(plain_text(part)), one_line(part.get("Label"))
        if text:
            parts.append(f"{label}: {text}" if label and label.upper() != "UNLABELLED" else text)
    return "\n\n".join(parts)


def _title(parts: dict[str, list[Element]], vernacular: bool) -> str | None:
    """The title; square brackets round it only say that it was translated. The vernacular one where it is asked for or the only one."""
    for tag in ("VernacularTitle", "ArticleTitle") if vernacular else ("ArticleTitle", "VernacularTitle"):
        title = one_line(plain_text(parts[tag][0])) if tag in parts else None
        if title and title.strip("[]. ").lower() not in ("", "not available", "in process citation"):
            title = title.replace(" (author's transl)", "")
            bracketed = re.fullmatch(r"\[(.*)\](\.?)", title) if title[0] == "[" else None
            return bracketed[1].rstrip(".") + "." if bracketed else title
    return None


def _year(parts: dict[str, list[Element]]) -> int | None:
    """The year of the journal's issue, or of publication on line."""
    for part in (*parts.get("Journal", ()), *parts.get("ArticleDate", ())):
        for element in part.iter("Year", "MedlineDate"):
            if found := _YEAR.search(element.text or ""):
                return int(found[0])
    return None
