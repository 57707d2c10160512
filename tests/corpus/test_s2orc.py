"""S2ORC: both forms of record become text with the paper's structure; nothing broken in a record costs more than itself."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.corpus import read_source
from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.markup import Markup
from medloom.corpus.readers.s2orc import read_record, read_s2orc
from medloom.ledger import Silent
from medloom.recipe import Corpus, Source

# An invented paper in the annotated form: {name|text} is a span, {name attribute=value|text} one with an attribute; spans nest.
ANNOTATED = """
{title|On the fever of Orrin} OPEN ACCESS
{author|{authorfirstname|Ada} {authorlastname|Quill} {authoraffiliation|Faculty of Herbs, Orrin}}
Published: 9 May 2019
{abstract|Velpin lowers fever.}

{sectionheader n=1|INTRODUCTION}

{paragraph|Orrin fever is common {bibref ref_id=b0|[1,} {bibref ref_id=b1|2]}. It was first seen by {bibref ref_id=b1|Marsh (1998}) and is \
mild (e.g., {bibref ref_id=b0|Osk, 2001}). Some say more {bibref|[9]}. Others (see {bibref|[7,} {bibref|8]}) do not.}

{sectionheader n=2.1|Doses in children}

{paragraph|Give <5 mg/kg; if age > 3 y [see {tableref ref_id=tab_0|Table 1}] or wait. Obesity is no bar ({figureref ref_id=fig_0|Fig. 1A}).}
{formula id=formula_0|d = 5 w}
{paragraph|The rate \u03b2 fell. 4 of 9 were well.}

{sectionheader|Acknowledgements}

{paragraph|We thank nobody.}

{sectionheader|Conflict of interest}

{paragraph|None was declared.}
{figure id=fig_0|
Figure 1 .
1{figurecaption|Course of the fever. It falls {bibref ref_id=b1|[2]}.}}
{figure id=tab_0|
Table 1 :
1{figurecaption|Doses by age}
{table|Age\tmg/kg
<3 y\t<2}}
This text behind the figures is kept as well.
{bibentry id=b0|{bibtitle|A field guide to the fevers of the northern coast and of all its islands}, \
{bibauthor|{bibauthorfirstname|B} {bibauthorlastname|Osk}}, {bibvenue|J. Herbs}}
{bibentry id=b1|{bibvenue|The Book of Orrin}, {bibauthor|{bibauthorlastname|Marsh}}}
"""

PLAIN_TEXT = """On the fever of Orrin

# Abstract

Velpin lowers fever.

# Introduction

Orrin fever is common (A field guide to the fevers of the northern coast and of..., Osk; The Book of Orrin, Marsh). It was first seen by \
Marsh (The Book of Orrin, Marsh) and is mild (e.g., A field guide to the fevers of the northern coast and of..., Osk). Some say more. \
Others do not.

## Doses in children

Give <5 mg/kg; if age > 3 y [see Table 1] or wait. Obesity is no bar (Fig. 1A).

Table 1. Doses by age
| Age | mg/kg |
| <3 y | <2 |

Figure 1. Course of the fever. It falls (The Book of Orrin, Marsh).

d = 5 w

The rate \u03b2 fell. 4 of 9 were well.

## Conflict of interest

None was declared.

This text behind the figures is kept as well."""

# The same as doc2json and CORD-19 write papers.
STRUCTURED: dict[str, Any] = {
    "paper_id": "ab12", "metadata": {"title": "On the fever of Orrin", "authors": [{"first": "Ada", "last": "Quill"}], "year": "2019",
                                     "pmc_id": "PMC77", "pubmed_id": 88, "doi": "10.1/ORRIN"},
    "abstract": [{"text": "Abstract: Velpin lowers fever.", "cite_spans": [], "ref_spans": [], "section": "Abstract"}],
    "body_text": [
        {"text": "Fever is rare in seals. 1 It was seen by Marsh (1998) and others (Osk, 2001) .", "section": "INTRODUCTION",
         "cite_spans": [{"start": 24, "end": 25, "text": "1", "ref_id": "BIBREF0"},
                        {"start": 41, "end": 53, "text": "Marsh (1998)", "ref_id": "BIBREF9"},
                        {"start": 65, "end": 76, "text": "(Osk, 2001)", "ref_id": None}], "ref_spans": [], "eq_spans": []},
        {"text": "Doses are in Table 1 and Fig. 2.", "section": "2.1. Doses", "cite_spans": [],
         "ref_spans": [{"start": 13, "end": 20, "text": "Table 1", "ref_id": "TABREF0"}, {"start": 25, "end": 31, "ref_id": None}]},
        {"text": "EQUATION", "section": "2.1. Doses", "eq_spans": [{"start": 0, "end": 8, "raw_str": "d = 5 w", "ref_id": "EQREF"}]}],
    "back_matter": [{"text": "We thank nobody.", "section": "ACKNOWLEDGMENTS"}, {"text": "None was declared.", "section": "Conflicts"}],
    "bib_entries": {"BIBREF0": {"title": "Seals", "authors": [{"first": "B", "last": "Osk"}]}, "BIBREF9": {"title": "", "authors": []}},
    "ref_entries": {
        "TABREF0": {"text": "Doses by age", "type_str": "table",
                    "content": "<table><tr><td>Age</td><td>mg/kg</td></tr><tr><td>&lt;3 y</td><td>&lt;2</td></tr></table>"},
        "FIGREF0": {"text": "FIG. 2 | Course of the fever.", "type": "figure", "latex": None},
        "FIGREF1": {"text": "and so on, of which the rest was lost", "type": "figure"}}}


def annotate(source: str) -> tuple[str, dict[str, Any]]:
    """(text, spans by name) of a marked-up text."""
    text, spans, within = "", dict[str, Any](), list[tuple[str, int]]()
    for piece in [part for opening in source.replace("{", "\0{").replace("}", "\0}").split("\0") for part in [opening] if part]:
        if piece[0] == "{":
            head, _, piece = piece[1:].partition("|")
            within.append((head, len(text)))
        elif piece[0] == "}":
            head, start = within.pop()
            name, _, attribute = head.partition(" ")
            more = {"attributes": dict([attribute.split("=")])} if attribute else {}
            spans.setdefault(name, []).append({"start": start, "end": len(text), **more})
            piece = piece[1:]
        text += piece
    return text, spans


def record(source: str = ANNOTATED, **more: Any) -> dict[str, Any]:
    """A record as the Datasets API gives it: each kind of span as JSON in a string, or null."""
    text, spans = annotate(source)
    return {"corpusid": 42, "externalids": {"pubmed": "7", "pubmedcentral": 9, "doi": "10.1/A", "arxiv": None},
            "content": {"source": {"oainfo": None}, "text": text,
                        "annotations": {"publisher": None, "venue": None, **{name: json.dumps(spans[name]) for name in spans}}}, **more}


def read(tmp_path: Path, *records: Any, marked: bool = False, name: str = "s2.jsonl", indent: int | None = None) -> list[Document | Drop]:
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(one, indent=indent) for one in records))
    faults: list[tuple[str, str]] = []
    found = list(read_s2orc(path, Origin("papers", "medical", name, "unknown", Markup(marked=marked)), faults))
    assert not faults
    return found


def document(tmp_path: Path, one: Any, **how: Any) -> Document:
    (found,) = read(tmp_path, one, **how)
    assert isinstance(found, Document), found
    return found


def test_the_annotated_form(tmp_path: Path) -> None:
    found = document(tmp_path, record(year=2019, publicationtypes=["JournalArticle", "CaseReport", "LettersAndComments"],
                                      openaccessinfo={"license": "CCBYNC", "url": "https://x.org/a.pdf"}))
    assert found.text == PLAIN_TEXT
    assert (found.id, found.corpus_id, found.pmid, found.pmcid, found.doi) == ("s2:42", "42", "7", "PMC9", "10.1/a")
    assert (found.title, found.year, found.licence) == ("On the fever of Orrin", 2019, "CC-BY-NC")
    assert found.categories == ("Case Reports", "Letter")


def test_the_newer_release_reads_the_same(tmp_path: Path) -> None:
    body, bibliography = ANNOTATED.split("{bibentry", 1)
    text, spans = annotate(body.split("Quill", 1)[0].split("{title", 1)[0] + "{abstract" + body.split("{abstract", 1)[1])
    listed, entries = annotate("{bibentry" + bibliography)
    names = {"sectionheader": "section_header", "bibref": "bib_ref", "figureref": "figure_ref", "tableref": "table_ref",
             "figurecaption": "figure_caption", "bibentry": "bib_entry", "bibtitle": "bib_title", "bibvenue": "bib_venue",
             "bibauthorlastname": "bib_author_last_name"}
    newer = {"corpusid": 42, "title": "On the fever of Orrin", "openaccessinfo": {"externalids": {"PubMed": "7"}, "license": "CCBY"},
             "body": {"text": text, "annotations": {names.get(name, name): spans[name] for name in spans}},
             "bibliography": {"text": listed, "annotations": {names.get(name, name): json.dumps(entries[name]) for name in entries}}}
    found = document(tmp_path, newer)
    assert found.text == PLAIN_TEXT
    assert (found.pmid, found.licence) == ("7", "CC-BY")


def test_meditrons_marks(tmp_path: Path) -> None:
    text = document(tmp_path, record(), marked=True).text
    assert "common [bib_ref] A field guide to the fevers of the northern coast and of..., Osk [/bib_ref] [bib_ref] The Book" in text
    assert "no bar ([fig_ref] Figure 1A: Course of the fever [/fig_ref])." in text
    assert "[table] Table 1: Doses by age\n| Age | mg/kg |\n| <3 y | <2 | [/table]" in text
    assert "\n\n[formula] d = 5 w [/formula]\n\n" in text and text.count("[fig]") == 1


def test_the_structured_form(tmp_path: Path) -> None:
    found = document(tmp_path, STRUCTURED)
    assert found.text == """On the fever of Orrin

# Abstract

Velpin lowers fever.

# Introduction

Fever is rare in seals (Seals, Osk). It was seen by Marsh (1998) and others (Osk, 2001).

## Doses

Doses are in Table 1 and Fig. 2.

Table 1. Doses by age
| Age | mg/kg |
| <3 y | <2 |

Figure 2. Course of the fever.

d = 5 w

## Conflicts

None was declared."""
    assert (found.id, found.corpus_id, found.pmid, found.pmcid, found.doi, found.year) == (
        "papers:ab12", None, "88", "PMC77", "10.1/orrin", 2019)


@pytest.mark.parametrize(("before", "after"), [
    ("Ears ring {bibref ref_id=b0|[1]} .", "Ears ring (Ears, Low)."),
    ("Ears ring (see {bibref ref_id=b0|Low 1990} and others).", "Ears ring (see Ears, Low and others)."),
    ("Ears ring ({bibref ref_id=b0|Low 1990}).", "Ears ring (Ears, Low)."),
    ("Ears ring ({bibref ref_id=b0|Low 1990} . Noses run (often).", "Ears ring (Ears, Low). Noses run (often)."),
    ("Ears ring {bibref ref_id=b0|Low 1990)}. So.", "Ears ring (Ears, Low). So."),
    ("Ears{bibref ref_id=b0|1,2} ring.", "Ears (Ears, Low) ring."),
    ("Ears ring.{bibref ref_id=b0|3} They do.", "Ears ring (Ears, Low). They do."),
    ("Ears ring (reviewed in {bibref|[7]}), {bibref|[8]}, more {bibref|9}.", "Ears ring,, more."),
    ("Ears ring (Fig. 2; {bibref|5}).", "Ears ring (Fig. 2)."),
    ("f(x) and g() stay, [95% CI 2 to 3] too {bibref|[7]}.", "f(x) and g() stay, [95% CI 2 to 3] too."),
])
def test_no_debris_and_balanced_brackets(before: str, after: str, tmp_path: Path) -> None:
    source = f"{{paragraph|{before}}}{{bibentry id=b0|{{bibtitle|Ears}} {{bibauthorlastname|Low}}}}"
    assert document(tmp_path, record(source)).text == after.replace(",,", ",")


def test_broken_spans_cost_nothing_but_themselves(tmp_path: Path) -> None:
    one = record()
    spans = one["content"]["annotations"]
    whole = {name: json.loads(value) for name, value in spans.items() if value}
    broken = [{"start": 5, "end": 10**9}, {"start": -4, "end": 3}, {"start": 9, "end": 9}, {"start": "x", "end": None}, {}, None, 7, "y"]
    for name in ("paragraph", "bibref", "bibentry", "sectionheader", "abstract", "figure", "tableref"):
        spans[name] = json.dumps(broken[:4] + [{**span, "start": str(span["start"]), "end": float(span["end"])} for span in whole[name]]
                                 + broken[4:])
    spans |= {"venue": "[{", "publisher": "{}", "table_": 3, "bibtitle": whole["bibtitle"]}
    assert document(tmp_path, one).text == PLAIN_TEXT
    spans["paragraph"] = "[{broken"
    text = document(tmp_path, one).text
    assert "Orrin fever is common (A field guide" in text and "Faculty of Herbs" not in text
    for bare in ({}, None, "gone", []):
        one["content"]["annotations"] = bare
        assert "Give <5 mg/kg; if age > 3 y" in document(tmp_path, one).text
    whole_paragraph = record("{paragraph|{bibref ref_id=b0|" + "A sentence that no pointer can be. " * 20 + "}}")
    assert document(tmp_path, whole_paragraph).text.startswith("A sentence that no pointer can be. A")
    alone = record("{paragraph|One sentence stands here.}\n{figurecaption|Figure 1. A caption outside of any figure.}")
    assert document(tmp_path, alone).text.endswith("\n\nFigure 1. A caption outside of any figure.")
    overlapping = record("{paragraph|One dose {bibref ref_id=b0|[1]} is enough for all of them.}")
    overlapping["content"]["annotations"]["bibref"] = [{"start": 9, "end": 12}, {"start": 10, "end": 16}]
    assert document(tmp_path, overlapping).text == "One dose is enough for all of them."


SPAN = st.fixed_dictionaries({"start": st.integers(-5, 90), "end": st.integers(-5, 90)},
                             optional={"attributes": st.dictionaries(st.sampled_from(["id", "ref_id", "n", "type"]),
                                                                     st.sampled_from([None, 1, "b0", "tab_0", "2.1", "table"]))})


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aB .,;()[]\n1\t\ud800"), max_size=80),
       st.dictionaries(st.sampled_from(["paragraph", "abstract", "sectionheader", "bibref", "figureref", "tableref", "bibentry", "bibtitle",
                                        "bibauthorlastname", "figure", "figurecaption", "table", "formula", "title"]),
                       st.lists(SPAN, max_size=6)), st.booleans())
def test_no_text_and_no_spans_bring_it_down(text: str, spans: dict[str, Any], marked: bool) -> None:
    origin = Origin("papers", "medical", "a", None, Markup(marked=marked))
    for one in ({"content": {"text": text, "annotations": spans}},
                {"body_text": [{"text": text, "cite_spans": spans.get("bibref"), "ref_spans": spans.get("figureref"),
                                "eq_spans": spans.get("formula"), "section": text[:9]}],
                 "bib_entries": spans, "ref_entries": {"a": spans}}):
        found = read_record(one, 1, origin)
        assert found.row()["text"] if isinstance(found, Document) else found.reason in ("empty", "no-text")


def test_what_is_no_paper_is_dropped_with_a_reason(tmp_path: Path) -> None:
    found = read(tmp_path, {"corpusid": 1}, {"corpusid": 2, "content": {"text": None}}, {"corpusid": 3, "content": {"text": " \n"}},
                 [1], {"paper_id": "x", "body_text": []}, {"paper_id": "y", "body_text": [{"text": None}, 7]}, record())
    assert [(one.id, one.reason) for one in found if isinstance(one, Drop)] == [
        ("s2:1", "no-text"), ("s2:2", "no-text"), ("s2:3", "empty"), ("papers:s2.jsonl#4", "broken-record"), ("papers:x", "no-text"),
        ("papers:y", "empty")]
    assert isinstance(found[-1], Document)
    half = record("{paragraph|Half a pair \ud835 is one character lost, and not the paper.}")
    assert document(tmp_path, half).text == "Half a pair \ufffd is one character lost, and not the paper."


def test_one_paper_in_a_file_may_be_indented_and_packed(tmp_path: Path) -> None:
    assert document(tmp_path, STRUCTURED, name="one.json", indent=2).id == "papers:ab12"
    assert [one.id for one in read(tmp_path, [STRUCTURED, record()], name="list.json", indent=1)] == ["papers:ab12", "s2:42"]
    path = tmp_path / "s2.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(record()).encode() + b"\n" + json.dumps(record()).encode())[:-40])
    faults: list[tuple[str, str]] = []
    assert [one.id for one in read_s2orc(path, Origin("papers", "medical", path.name), faults)] == ["s2:42"]
    assert faults[0][0] == "truncated-file"


@pytest.mark.parametrize(("head", "caption", "written"), [
    ("\nFigure 2 .\n2", "Course.", "Figure 2. Course."), ("\nFIG. 2 |\n", "Course.", "Figure 2. Course."), ("\n\n", "Course.", "Course."),
    ("\n\n", "Fig. 2. Course.", "Figure 2. Course."), ("\n\n2", "Course.", "Figure 2. Course."),
    ("\n\n", "the rest of it. All fell.", "All fell."), ("\nFigure 2\n2", "Figure 2: Course of 2 mg.", "Figure 2. Course of 2 mg."),
])
def test_a_figure_is_named_by_what_stands_before_its_caption(head: str, caption: str, written: str, tmp_path: Path) -> None:
    source = f"{{paragraph|One sentence stands here.}}\n{{figure id=fig_1|{head}{{figurecaption|{caption}}}}}"
    assert document(tmp_path, record(source)).text == f"One sentence stands here.\n\n{written}"


def test_as_a_source_of_a_recipe(tmp_path: Path) -> None:
    folder = tmp_path / "s2orc"
    folder.mkdir()
    (folder / "20260101_070842_00108.gz").write_bytes(gzip.compress((json.dumps(record()) + "\n{\n").encode()))
    (folder / "one.json").write_text(json.dumps(STRUCTURED, indent=1))
    source = Source(name="papers", format="s2orc", path="s2orc")
    figures = read_source(source, folder, Corpus(sources=(source,), workers=1), tmp_path / "out", Silent(), tmp_path / "state")
    assert figures["documents"] == 2 and figures["dropped"] == {"broken-record": 1}


def test_real_papers(shared: Path) -> None:
    texts = {}
    for path in sorted((shared / "corpus/s2orc").glob("*.json")):
        for marked in (False, True):
            faults: list[tuple[str, str]] = []
            (found,) = read_s2orc(path, Origin("papers", "medical", path.name, None, Markup(marked=marked)), faults)
            assert isinstance(found, Document) and not faults
            text = texts[path.stem] = found.text
            data = json.loads(path.read_text())
            parse = data.get("pdf_parse") or data.get("grobid_parse") or data
            source = " ".join([*(part["text"] for name in ("abstract", "body_text") for part in parse[name]),
                               *(entry["text"] for entry in parse["ref_entries"].values())])
            assert len(text.split()) > 0.97 * len(source.split()), "no text is lost"
            assert abs(text.count("(") - text.count(")")) <= abs(source.count("(") - source.count(")")) + 3, "brackets are closed"
            assert "\0" not in text and ") ." not in text and text.count("()") <= len(re.findall(r"\(\s*\)", source))
    assert "We thank the captain" not in texts["24e6b80e338a4e543de6b49cada07156c9149d22"]
