"""Guidelines in HTML, XML, Markdown and text."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.readers.guidelines import read_guideline
from medloom.corpus.readers.html_fragment import fragment_to_markdown


def read(path: Path) -> Document | Drop:
    return read_guideline(path.read_bytes(), Origin("guidelines", "medical", path.name))


def test_a_real_page_keeps_headings_and_tables_and_loses_the_site(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_html/48012.htm")
    assert isinstance(document, Document) and document.language == "en"
    assert document.title == "Pharmacologic Interventions for Breast Cancer Risk Reduction in Women"
    assert "\n### Areas of Agreement" in document.text and "\n| " in document.text and "≥1.66%" in document.text
    for chrome in ("Skip to", "Log in", "Subscribe", "Copyright ©", "javascript"):
        assert chrome.lower() not in document.text.lower()


@pytest.mark.parametrize(("name", "data", "reason"), [
    ("a.pdf", b"%PDF-1.4 broken", "unreadable-file"), ("a.txt", b" \n", "empty"), ("a.html", b"", "empty"),
    ("a.html", b"<html><title>500 - timed out</title><body><h1>500 - timed out</h1><p>The web server failed to respond in time.</p>"
               b"</body></html>", "error-page"),
])
def test_what_gives_no_text_is_dropped_with_a_reason(name: str, data: bytes, reason: str) -> None:
    drop = read_guideline(data, Origin("guidelines", "medical", name))
    assert isinstance(drop, Drop) and drop.reason == reason


PAGE = b"""<html lang="en"><head><title>Dosing | Site</title><meta name="citation_publication_date" content="2019/03/01"></head><body>
<nav><a href="/">Home</a> <a href="/login">Log in</a></nav><main><h1>Dosing of the drug</h1>
<p>Give <5 mg/kg per day; if age > 3 y give 10 mg/kg [with food], for counts of 10<sup>9</sup>/L and a PaCO<sub>2</sub> above 45.</p>
<p><b>Warnings</b></p><p>or wait and see how it goes, as the <em>physician</em> decides, since obesity is *no* reason to_stop it.</p>
<table><tr><th>Age</th><th>Dose</th></tr><tr><td>< 3 y</td><td><b>5 mg</b></td></tr>
<tr><td><p><b>Older</b></p><p>children</p></td><td><ul><li>10 mg</li><li>once more.</li></ul></td></tr></table>
<h2>References</h2><p>1. Smith J. A matter that was found out in a trial, and written down. 2001.</p></main></body></html>"""


def test_a_page_keeps_what_it_says() -> None:
    document = read_guideline(PAGE, Origin("guidelines", "medical", "a.html"))
    assert isinstance(document, Document) and (document.title, document.year) == ("Dosing of the drug", 2019)
    text = document.text
    assert "Give <5 mg/kg per day; if age > 3 y give 10 mg/kg [with food], for counts of 10^9/L and a PaCO2 above 45." in text
    assert "or wait and see how it goes, as the physician decides, since obesity is *no* reason to_stop it." in text
    assert "\n## Warnings\n" in text and "| < 3 y | 5 mg |" in text and "| Older: children | 10 mg; once more. |" in text
    assert "Log in" not in text and "Smith" not in text and "\\" not in text and "**" not in text


def test_a_page_with_controls_in_it_and_a_wrong_charset_is_read() -> None:
    data = PAGE.replace(b"10<sup>9</sup>", b"10<sup>\x009\x02</sup>").replace(b"<head>", b"<head><meta charset=iso-8859-1>").replace(
        b"or wait", b"\x93or wait\x94")
    document = read_guideline(data, Origin("guidelines", "medical", "a.html"))
    assert isinstance(document, Document) and "10^9/L" in document.text and "\u201cor wait\u201d" in document.text


def test_real_duplicates_give_the_same_text(shared: Path) -> None:
    folder = shared / "corpus/guidelines_html/with_dups"
    texts = {document.text for path in folder.rglob("*50489.htm") if isinstance(document := read(path), Document)}
    assert len(list(folder.rglob("*50489.htm"))) == 3 and len(texts) == 1


def test_real_pages_are_free_of_markup(shared: Path) -> None:
    for path in sorted((shared / "corpus/guidelines_html").glob("*.htm")):
        document = read(path)
        assert isinstance(document, Document)
        assert not re.search(r"\*\*|</?(?:sup|sub|td|p)>|\\\\[\[<*]", document.text)


def test_real_summaries_in_xml(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_xml/ngc-10349.xml")
    assert isinstance(document, Document) and document.year == 2014
    assert (document.title or "").startswith("Bortezomib for induction therapy in multiple myeloma before high-dose chemotherapy")
    assert document.text.split("\n")[2] == "National Institute for Health and Care Excellence (NICE), 2014"
    assert "\n# Major Recommendations\n\nBortezomib is recommended as an option within its marketing authorisation" in document.text
    assert "- Clinical effectiveness\n  - Response rates (complete response [CR], near CR [nCR]" in document.text


def test_real_summaries_keep_tables_and_lose_what_says_nothing(shared: Path) -> None:
    read_all = [read(path) for path in sorted((shared / "corpus/guidelines_xml").glob("*.xml"))]
    documents = [document for document in read_all if isinstance(document, Document)]
    assert len(documents) == len(read_all) == 165
    for document in documents:
        assert document.title and document.year and 2013 <= document.year <= 2017 and document.licence
        assert "\n# Major Recommendations\n" in document.text and "\n# Target Population\n" in document.text
        for nothing in ("does not develop, produce, approve, or endorse", "This NGC summary was completed", "# Guideline Status",
                        "&lt;", "</", "\nNone provided", "\u00c3\u00bc", "\u00e2\u0084\u00a2"):
            assert nothing not in document.text
        for table in re.findall(r"(?:^\|.*\n)+", document.text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    pancreatitis = next(document.text for document in documents if "acute pancreatitis" in (document.title or ""))
    assert "| US abdomen | 9 | This is essential to assess for gallstones with the first episode of acute pancreatitis;" in pancreatitis
    assert "<48\u201372 hours after onset of symptoms" in pancreatitis and "\u2622 \u2622 \u2622 |" in pancreatitis


def field(name: str, *values: str, kind: str = "text", section: str = "Recommendations") -> str:
    inside = "".join(f'<FieldValue Value="{value}"/>' for value in values)
    return f'<Section Name="{section}"><Field Name="{name}" Type="{kind}">{inside}</Field></Section>'


def test_a_summary_s_fields() -> None:
    who = "Identifying Information and Availability"
    dose = escape("<p>Dose <5 mg/kg, or [wait] if age > 3 y.</p><ol><li>One<ul><li>Two</li></ul></li></ol>"
                  '<table><tr><td rowspan="2">A</td><td>B</td></tr><tr><td>C\u00e2\u0080\u0093D</td></tr></table>')
    data = ("<Version>" + field("Guideline Title", "Care of X.") + field("Major Recommendations", dose)
            + field("Potential Harms", "Not stated") + field("Clinical Specialty", "Oncology", kind="picklist-many")
            + field("Guideline Developer(s)", "College of X - Medical Society", section=who)
            + field("Date Released", "1998 (revised 2013)", section=who)
            + field("Copyright Statement", "No copyright restrictions apply.", section=who)
            + field("NGC Disclaimer", "We do not endorse.", section="Disclaimer") + "</Version>")
    document = read_guideline(data.encode(), Origin("ngc", "medical", "x.xml"))
    assert isinstance(document, Document)
    assert (document.title, document.year, document.licence) == ("Care of X", 2013, "No copyright restrictions apply.")
    assert document.text == ("Care of X\n\nCollege of X, 2013\n\n# Major Recommendations\n\nDose <5 mg/kg, or [wait] if age > 3 y.\n\n"
                             "1. One\n  - Two\n\n| A | B |\n|---|---|\n| | C\u2013D |")


@pytest.mark.parametrize(("data", "reason"), [
    (b"<Version><Section>", "broken-xml"), (b"<feed><entry/></feed>", "no-guideline"),
    (f"<Version>{field('Potential Harms', 'Not stated')}</Version>".encode(), "empty"),
])
def test_xml_that_is_no_guideline_is_dropped(data: bytes, reason: str) -> None:
    drop = read_guideline(data, Origin("ngc", "medical", "x.xml"))
    assert isinstance(drop, Drop) and drop.reason == reason


@pytest.mark.parametrize(("html", "markdown"), [
    ('<ol style="list-style-type: lower-alpha;" start="2"><li>X</li><li>Y</li></ol>', "b. X\nc. Y"),
    ('<ol type="I"><li>X</li><li>Y</li><ol><li>Z</li></ol></ol>', "I. X\nII. Y\n  1. Z"),
    ("<ul><li><p>X</p><p>Y</p></li></ul>", "- X\n  Y"),
    ("<p>10<sup>9</sup>/L, a<sup>*</sup>, CO<sub>2</sub> &lt; 5<br>or <em>more</em></p>text", "10^9/L, a*, CO2 < 5\nor more\n\ntext"),
    ("<table><tr><td>One cell</td></tr><tr><td>is layout</td></tr></table>", "One cell\n\nis layout"),
    ("<table><tr><th colspan='2'>A</th></tr><tr><td>x|y</td><td><ul><li>one</li><li>two</li></ul></td></tr></table>",
     "A\n\n| x\\|y | one; two |\n|---|---|"),
    ("<p><strong>Dose</strong></p><p><strong>It is one sentence.</strong></p>", "## Dose\n\nIt is one sentence."),
    ("if <5 mg and >3 <script>x()</script>", "if <5 mg and >3"), ("<!-- -->", ""), ("", ""),
])
def test_fragments_of_html(html: str, markdown: str) -> None:
    assert fragment_to_markdown(html) == markdown


def test_a_guideline_may_be_an_article() -> None:
    data = b"<article><front/><body><sec><title>Doses</title><p>Five milligrams.</p></sec></body></article>"
    document = read_guideline(data, Origin("ngc", "medical", "x.xml"))
    assert isinstance(document, Document) and "Five milligrams." in document.text


def test_html_inside_markdown_is_read_and_comparisons_stay(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_txt/nice/12-CG85.txt")
    assert isinstance(document, Document)
    assert "| Age | Any | Any | Any | Treat till 60 | Treat till 65 | Treat till 80 | Any |" in document.text
    assert "<555 micrometers" in document.text and "NICE Source: CG85 Glaucoma: diagnosis and management." in document.text
    for path in sorted((shared / "corpus/guidelines_txt").rglob("*.txt")):
        document = read(path)
        assert isinstance(document, Document) and not re.search(r"</|<(?:td|p|a|cite|sup|table)\b", document.text)
        # Letters and digits all stay, but for those of tags and of the links in them.
        kept, source = (re.sub(r"\W", "", re.sub(r"</?[a-z]+(?: [a-z]+=\"[^\"]*\")*>", "", text))
                        for text in (document.text, path.read_text(encoding="utf-8", errors="replace")))
        if "<table" not in path.read_text(encoding="utf-8", errors="replace"):
            assert kept == source


def test_real_bullets_of_every_kind_are_list_items(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_txt/nstg/FEVERS_ MANAGEMENT APPROACH.txt")
    assert isinstance(document, Document)
    assert "\n- Rectal temperature is greater than 38\u00b0C Or\n" in document.text  # with a Japanese middle dot in the file
    assert "\n- Periodicity, grade, and duration of fever" in document.text


def test_markdown_is_kept_as_it_stands(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_txt/nice/08-CG151.txt")
    assert isinstance(document, Document) and document.title == "Neutropenic Sepsis Prevention"
    assert "temp>38 or other signs" in document.text and "\n### Risk Assess" in document.text
