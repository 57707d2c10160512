"""S2ORC: full papers as Semantic Scholar parses them from PDF (Lo et al. 2020, arXiv:1911.02782).

Two forms of record. Annotated: the whole paper is one string, with spans that say what is what, as the Datasets API gives it under
`content` (dataset s2orc) or `body` and `bibliography` (s2orc_v2). Structured: paragraphs with spans of their own, as S2ORC's first
releases, doc2json and CORD-19 have them.

Kept: title, abstract, section headings, paragraphs, formulas, captions, and the rows of tables whose cells are told apart. Left out: author
names, affiliations, venue, bibliography and acknowledgements.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..document import Document, Drop, Origin
from ..markup import Reference
from .clean import clean, one_line
from .generic import SURROGATE, identifiers, json_records, read_licence, table, written_out, year
from .passages import Float, Heading, Paper, Passage, Pointer, split_label, write

PARSES = ("latex_parse", "pdf_parse", "grobid_parse")
CATEGORIES = {"Review": "Review", "CaseReport": "Case Reports", "MetaAnalysis": "Meta-Analysis", "ClinicalTrial": "Clinical Trial",
              "Editorial": "Editorial", "LettersAndComments": "Letter"}  # Semantic Scholar's word: MEDLINE's
FRONT = ("title", "author", "authoraffiliation", "authorfirstname", "authorlastname", "publisher", "venue")
BACK = ("bibentry", "bibauthor", "bibauthorfirstname", "bibauthorlastname", "bibtitle", "bibvenue", "figure", "figurecaption", "table")
# A heading of at most three words with one of these in it opens a section of the first depth (Meditron's list and rule).
MAIN_SECTIONS = ("abstract", "introduction", "background", "related", "method", "material", "result", "analysis", "discussion",
                 "conclusion", "contribution", "statement", "declaration", "strength", "limitation", "future research", "funding",
                 "disclosure", "acknowledgment", "ethical", "tables", "figures", "appendix")
Span = tuple[int, int, Mapping[str, Any]]

_LOOSE, _GONE, _HEADING, _FORMULA, _ABSTRACT, _PARAGRAPH = range(6)  # what a character is part of; paragraphs and headings alternate
_NUMBER = re.compile(r"((?:\d{1,2}\.)+\d{0,2}|[IVX]+\.(?=\s+[A-Z]{2}))\s+(?=\S)")
_ONLY_A_LABEL = re.compile(r"\W*(?:fig(?:ure|\.)?|tab(?:le|\.)?|gr[aá]fico|scheme)\s*[\dIVX.:]*\W*", re.IGNORECASE)
_ABSTRACT_WORD = re.compile(r"abstract\b\s*[.:\u2014-]*\s*(?=\S)", re.IGNORECASE)
_SENTENCE = re.compile(r"[^\W\d_]{2,}\s+\S*[^\W\d_]{2,}\s+\S+")


def read_s2orc(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[Document | Drop]:
    """A file of papers as JSON lines, or of one paper (or a list of them) as one JSON value, which is held in memory whole.

    A span that is out of range or no span at all is passed over; a record without text is a Drop.
    """
    for number, record in json_records(path, origin, faults):
        yield record if isinstance(record, Drop) else read_record(record, number, origin)


def read_record(record: Any, number: int, origin: Origin) -> Document | Drop:
    """A paper from a record; `number` is its place in the file, counted from 1, and its id where it brings none."""
    key = f"{origin.key}#{number}"
    if not isinstance(record, Mapping):
        return origin.drop("broken-record", f"not an object but {type(record).__name__}", key)
    meta = table(record.get("metadata"))
    known = identifiers(record, meta)
    own = one_line(str(record["paper_id"])) if isinstance(record.get("paper_id"), str | int) else None
    if known["corpus_id"] is None and own and own.isdigit() and "header" not in record:
        known["corpus_id"] = own  # S2ORC's own releases number papers as Semantic Scholar does; doc2json has the file's name here
    key = f"s2:{known['corpus_id']}" if known["corpus_id"] else f"{origin.source}:{own}" if own else key
    title = next((words for words in (record.get("title"), meta.get("title")) if isinstance(words, str) and words.strip()), None)
    content = next((part for part in (table(record.get("content")), table(record.get("body"))) if isinstance(part.get("text"), str)), None)
    parse = next((part for part in (*(table(record.get(name)) for name in PARSES), record) if _listed(part.get("body_text"))), record)
    if content is not None:
        paper, own_title = _annotated(content, table(record.get("bibliography")))
        title = title or own_title
    elif any(_listed(parse.get(name)) for name in ("abstract", "body_text")):
        paper = _structured(parse, record.get("abstract") or meta.get("abstract"))
    else:
        return origin.drop("no-text", "neither content.text, body.text nor body_text holds a text", _sound(key))
    title = one_line(_sound(title))
    text = clean(_sound("\n\n".join(write(paper, origin.markup))))
    if not text:
        return origin.drop("empty", id=_sound(key))
    access = (table(record.get("openaccessinfo")), table(table(table(record.get("content")).get("source")).get("oainfo")), record)
    licence, url = next((found for place in access if (found := read_licence(place.get("license")))[0]), (None, None))
    kinds = _listed(record.get("publicationtypes"))
    return origin.document(
        _sound(key), f"{title}\n\n{text}" if title else text, title=title,
        licence=_sound(licence) or origin.licence, licence_url=_sound(url) or None,
        year=year(record.get("year")) or year(meta.get("year")) or year(record.get("publicationdate")),
        categories=tuple(CATEGORIES[kind] for kind in kinds if isinstance(kind, str) and kind in CATEGORIES),
        **{name: _sound(value) or None for name, value in known.items()})


def _sound(text: str | None) -> str:
    """A text in which halves of surrogate pairs, which no file can hold, are U+FFFD."""
    return SURROGATE.sub("\ufffd", text or "")


def _listed(value: Any) -> list[Any]:
    """A list that may be written out as JSON in a string; empty where it is none."""
    value = written_out(value)
    return value if isinstance(value, list) else []


def _spans(value: Any, size: int) -> list[Span]:
    """(start, end, attributes) of each usable span, sorted; size is that of the text."""
    found = []
    for span in _listed(value):
        try:
            start, end, more = int(span["start"]), int(span["end"]), span.get("attributes")
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            continue
        if 0 <= start < end <= size:
            found.append((start, end, {**span, **table(more)} if more else span))
    return sorted(found, key=lambda span: span[:2])


def _target(attributes: Mapping[str, Any]) -> str | None:
    value = attributes.get("ref_id")
    return None if value is None else str(value)


def _heading(words: str, number: Any) -> Heading | None:
    """A section's heading; its depth by its number where it has one, which is left out as the publishers' own texts leave it out."""
    words = " ".join(words.split()).strip("#* ")
    if not words or _ONLY_A_LABEL.fullmatch(words):
        return None
    inside = _NUMBER.match(words)
    parts = re.findall(r"\w+", str(number) if number else inside[1] if inside else "")
    if inside:
        words = words[inside.end():]
    main = len(words.split()) <= 3 and any(stem in words.lower() for stem in MAIN_SECTIONS)
    if words.isupper() and any(stem in words.lower() for stem in MAIN_SECTIONS):
        words = words.capitalize()
    return Heading(words, len(parts) if parts else 1 if main else 2)


# The annotated form


def _annotated(content: Mapping[str, Any], bibliography: Mapping[str, Any]) -> tuple[Paper, str | None]:
    """(paper, title) from one string and the spans over it."""
    text = content["text"]
    spans = _named(content.get("annotations"), len(text))
    paper = Paper(works=_works(text, spans))
    if isinstance(bibliography.get("text"), str):
        paper.works |= _works(bibliography["text"], _named(bibliography.get("annotations"), len(bibliography["text"])))
    labels = _painted(len(text), spans)
    pointers = sorted((Pointer(start, end, "cite" if name == "bibref" else "float", _target(attributes))
                       for name in ("bibref", "figureref", "tableref") for start, end, attributes in spans.get(name, ())),
                      key=lambda pointer: pointer.start)
    starts = [pointer.start for pointer in pointers]

    def passage(start: int, end: int, formula: bool = False) -> Passage:
        within = pointers[bisect_left(starts, start):bisect_left(starts, end)]
        inside = [Pointer(p.start - start, p.end - start, p.kind, p.target) for p in within if p.end <= end]
        return Passage(text[start:end], inside, formula)

    figures = spans.get("figure", [])
    alone = [span for span in spans.get("figurecaption", ()) if not any(start <= span[0] < end for start, end, _ in figures)]
    for start, end, attributes in sorted([*figures, *alone], key=lambda span: span[:2]):
        one = _figure(text, start, end, attributes, spans, passage)
        if one is not None:
            paper.floats.setdefault(str(attributes.get("id") or f"@{start}"), one)
    numbers = {start: attributes.get("n") for start, _, attributes in spans.get("sectionheader", ())}
    body = min([start for name in ("abstract", "sectionheader", "paragraph") for start, *_ in spans.get(name, ())[:1]], default=0)
    edges = np.flatnonzero(np.diff(np.frombuffer(labels, np.uint8))) + 1
    for start, end in pairwise([0, *edges.tolist(), len(text)] if text else []):
        kind = labels[start] & 7
        if kind == _HEADING:
            heading = _heading(text[start:end], numbers.get(start))
            if heading:
                paper.blocks.append(heading)
        elif kind in (_ABSTRACT, _PARAGRAPH, _FORMULA) or (kind == _LOOSE and start >= body and _SENTENCE.search(text, start, end)):
            if kind == _ABSTRACT:
                start += _abstract(paper, text[start:end])
            paper.blocks.append(passage(start, end, kind == _FORMULA))
    title = next((text[start:end] for start, end, _ in spans.get("title", ())), None)
    return paper, title


def _named(annotations: Any, size: int) -> dict[str, list[Span]]:
    """Usable spans by their names, which the newer release writes with underscores."""
    named = ((name.replace("_", ""), _spans(value, size)) for name, value in table(annotations).items())
    return {name: spans for name, spans in named if spans}


def _painted(size: int, spans: Mapping[str, list[Span]]) -> bytes:
    """What each character is part of. Later coats cover earlier ones: front matter never hides a paragraph, a figure in one does."""
    labels = bytearray(size)
    coats = [*((name, _GONE) for name in FRONT), ("paragraph", _PARAGRAPH), ("abstract", _ABSTRACT), *((name, _GONE) for name in BACK),
             ("formula", _FORMULA), ("sectionheader", _HEADING)]
    for name, label in coats:
        for number, (start, end, _) in enumerate(spans.get(name, ())):
            labels[start:end] = bytes([label | (number & 1) << 3]) * (end - start)
    return bytes(labels)


def _abstract(paper: Paper, text: str) -> int:
    """Put a heading over the abstract, where none is; the length of the word "Abstract" that its text opens with."""
    last = paper.blocks[-1] if paper.blocks else None
    headed = isinstance(last, Heading) and "abstract" in last.words.lower()
    if not headed and Heading("Abstract", 1) not in paper.blocks:
        paper.blocks.append(Heading("Abstract", 1))
    found = _ABSTRACT_WORD.match(text)
    return found.end() if found else 0


def _works(text: str, spans: Mapping[str, list[Span]]) -> dict[str, Reference]:
    """The cited works by their ids: title (of a book, which has none of its own, the venue) and the first author's last name."""
    works: dict[str, Reference] = {}
    for start, end, attributes in spans.get("bibentry", ()):
        title, venue, last, author = (_first(text, spans.get(name, ()), start, end)
                                      for name in ("bibtitle", "bibvenue", "bibauthorlastname", "bibauthor"))
        if not title and venue and text[start:end].lstrip().startswith(venue):
            title = venue
        if "id" in attributes:
            works.setdefault(str(attributes["id"]), Reference(title, last or author.rpartition(" ")[2]))
    return works


def _first(text: str, spans: list[Span] | tuple[()], start: int, end: int) -> str:
    place = bisect_left(spans, start, key=lambda span: span[0])
    return " ".join(text[spans[place][0]:spans[place][1]].split()) if place < len(spans) and spans[place][1] <= end else ""


def _figure(text: str, start: int, end: int, attributes: Mapping[str, Any], spans: Mapping[str, list[Span]], passage: Any) -> Float | None:
    """A figure or table: what stands before its caption is its heading, "Figure 2 ." over the number again."""
    is_table = attributes.get("type") == "table" or str(attributes.get("id", "")).startswith("tab")
    inside = [span for span in spans.get("figurecaption", ()) if start <= span[0] and span[1] <= end]
    cells = [span for span in spans.get("table", ()) if start <= span[0] <= end + 2] if is_table else []  # within, or right behind
    rows = [row for span in cells for row in _rows(text[span[0]:span[1]])]
    if not inside:
        return Float("", Passage(""), is_table, rows) if rows else None
    head = " ".join(text[start:inside[0][0]].split())
    label, _ = split_label(re.sub(r"\s+(?=[.:])", "", head))
    caption: Passage = passage(*inside[0][:2])
    own, rest = split_label(caption.text.lstrip())
    if own and (not label or own == label):
        label, caption = own, passage(inside[0][1] - len(rest), inside[0][1])
    if not label and head.isdigit():
        label = f"{'Table' if is_table else 'Figure'} {head}"
    return Float(label, caption, is_table, rows)


def _rows(cells: str) -> list[str]:
    """A table's rows where tabs tell its cells apart; numbers run into each other say nothing, or what is not so."""
    lines = [[" ".join(cell.split()) for cell in line.split("\t")] for line in cells.split("\n") if "\t" in line]
    return [f"| {' | '.join(line)} |" for line in lines if any(line)]


# The structured form


def _structured(parse: Mapping[str, Any], abstract: Any) -> Paper:
    """A paper from lists of paragraphs; `abstract` is the one of the metadata, for where the parse has none."""
    paper = Paper()
    for key, entry in table(parse.get("bib_entries")).items():
        authors = _listed(table(entry).get("authors"))
        first = table(authors[0]) if authors else {}
        paper.works[key] = Reference(one_line(str(table(entry).get("title") or "")) or "", one_line(str(first.get("last") or "")) or "")
    formulas: dict[str, str] = {}
    for key, entry in table(parse.get("ref_entries")).items():
        kind = str(table(entry).get("type_str") or table(entry).get("type") or "")
        if kind in ("figure", "table"):
            paper.floats[key] = _entry(table(entry), kind == "table")
        elif kind == "equation":
            formulas[key] = str(entry.get("latex") or entry.get("text") or "")
    parts = _listed(parse.get("abstract")) or ([{"text": abstract}] if isinstance(abstract, str) else _listed(abstract))
    for part in parts:
        one = _paragraph(table(part), formulas)
        if one:
            start = _abstract(paper, one.text)
            pointers = [Pointer(p.start - start, p.end - start, p.kind, p.target) for p in one.pointers]
            paper.blocks.append(Passage(one.text[start:], pointers, one.formula))
    section: tuple[Any, Any] = ("", None)
    for part in (table(one) for name in ("body_text", "back_matter") for one in _listed(parse.get(name))):
        here = (part.get("section"), part.get("sec_num"))
        if here != section:
            section = here
            paper.blocks += _path(str(here[0] or ""), here[1])
        one = _paragraph(part, formulas)
        if one:
            paper.blocks.append(one)
    return paper


def _path(section: str, number: Any) -> list[Heading]:
    """The headings of a section; " ::: " divides one from those above it."""
    parts = [part for part in section.split(" ::: ") if part.strip()]
    if len(parts) == 1:
        one = _heading(parts[0], number)
        return [one] if one else []
    found = (_heading(part, None) for part in parts)
    return [Heading(one.words, depth) for depth, one in enumerate(found, start=1) if one]


def _paragraph(part: Mapping[str, Any], formulas: Mapping[str, str]) -> Passage | None:
    """A paragraph with its spans; one that is nothing but an equation is a formula."""
    if not isinstance(part.get("text"), str) or not part["text"].strip():
        return None
    text, pointers = part["text"], []
    for name, kind in (("cite_spans", "cite"), ("ref_spans", "float")):
        pointers += [Pointer(start, end, kind, _target(span)) for start, end, span in _spans(part.get(name), len(text))]
    for start, end, span in _spans(part.get("eq_spans"), len(text)):
        words = str(span.get("latex") or span.get("raw_str") or formulas.get(_target(span) or "") or "")
        if not words and text[start:end].isupper():
            continue
        if start == 0 and not text[end:].strip():
            return Passage(words, formula=True)
        pointers.append(Pointer(start, end, "formula", words or text[start:end]))
    return Passage(text, pointers)


def _entry(entry: Mapping[str, Any], is_table: bool) -> Float:
    label, caption = split_label(" ".join(str(entry.get("text") or "").split()))
    is_table = label.startswith("Table") if label else is_table
    number = entry.get("fig_num") or entry.get("num")
    if not label and isinstance(number, str | int) and str(number).strip():
        label = f"{'Table' if is_table else 'Figure'} {number}"
    content = entry.get("html") or entry.get("content")
    cells = _cells(content) if isinstance(content, str) and "<td" in content else []
    if not any(len(row) > 1 for row in cells):  # no table, but a caption line by line
        return Float(label, Passage(caption or " ".join(" ".join(row) for row in cells).lstrip(" .:")), is_table)
    return Float(label, Passage(caption), is_table, [f"| {' | '.join(row)} |" for row in cells if any(row)])


def _cells(content: str) -> list[list[str]]:
    """A table's rows of cells from HTML."""
    from lxml import etree, html

    try:
        tree = html.fragment_fromstring(content, create_parent=True)
    except (etree.ParserError, ValueError):
        return []
    return [[" ".join(str(cell.text_content()).split()) for cell in row.iter("td", "th")] for row in tree.iter("tr")]
