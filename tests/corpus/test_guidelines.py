"""Guidelines in HTML, PDF, Markdown and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.guidelines import read_guideline
from medloom.corpus.pdf import cut_references, is_contents, join_broken_words, paragraphs, strip_edges


def read(path: Path) -> Document | Drop:
    return read_guideline(path.read_bytes(), Origin("guidelines", "medical", path.name))


def test_a_real_page_keeps_headings_and_tables_and_loses_the_site(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_html/48012.htm")
    assert isinstance(document, Document) and document.language == "en"
    assert document.title == "Pharmacologic Interventions for Breast Cancer Risk Reduction in Women"
    assert "\n### Areas of Agreement" in document.text and "\n| " in document.text and "≥1.66%" in document.text
    for chrome in ("Skip to", "Log in", "Subscribe", "Copyright ©", "javascript"):
        assert chrome.lower() not in document.text.lower()


def test_a_real_pdf_reads_as_running_text(shared: Path) -> None:
    path = next((shared / "corpus/guidelines_pdf").glob("*mpox.pdf"))
    document = read(path)
    assert isinstance(document, Document) and document.licence == "CC-BY-NC-SA-3.0-IGO"
    text = document.text
    assert "a direct body-surface-to-body-surface contact" in text
    assert "....." not in text and "\x02" not in text
    assert "### 2.8.1 Infectious period" in text
    assert "it typically begins with the onset of symptoms and patients are considered infectious until" in text


def test_running_heads_go_and_text_stays() -> None:
    ways = ["one", "two", "three", "four", "five"]
    pages = [["Management of X", f"The text of page {n} begins", f"in its own way: {way}.", f"{n} | WHO guideline"]
             for n, way in enumerate(ways, 1)]
    pages[0].insert(1, "Unique line")
    assert strip_edges(pages)[0] == ["Unique line", "The text of page 1 begins", "in its own way: one."]
    assert is_contents(["Contents", "Introduction ........ 3", "Methods ............ 9", "Results ............ 12"])
    assert not is_contents(["Give 5 mg on day 1", "then 10 mg", "and stop.", "Or wait."])
    assert cut_references(["a", "b", "c", "References", "1. Smith", "Annex 1. Doses", "z"]) == ["a", "b", "c", "Annex 1. Doses", "z"]


def test_broken_words_are_joined_by_what_the_document_knows() -> None:
    text = "treat\x02ment of treatment; high\x02income and high and income, high income; unex\x02pected"
    assert join_broken_words(text) == "treatment of treatment; high-income and high and income, high income; unexpected"


def test_lines_become_paragraphs_and_headings() -> None:
    long = "This line of the paragraph is as long as the page is wide and so it goes on"
    assert paragraphs(["1.2 Background of it", long, "until here.", "• one", "• two", long, long]) == [
        "## 1.2 Background of it", f"{long} until here.", "• one", "• two", f"{long} {long}"]


@pytest.mark.parametrize(("name", "data", "reason"), [
    ("a.pdf", b"%PDF-1.4 broken", "unreadable-file"), ("a.txt", b" \n", "empty"), ("a.html", b"", "empty"),
    ("a.html", b"<html><title>500 - timed out</title><body><h1>500 - timed out</h1><p>The web server failed to respond in time.</p>"
               b"</body></html>", "error-page"),
])
def test_what_gives_no_text_is_dropped_with_a_reason(name: str, data: bytes, reason: str) -> None:
    drop = read_guideline(data, Origin("guidelines", "medical", name))
    assert isinstance(drop, Drop) and drop.reason == reason


def test_markdown_is_kept_as_it_stands(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_txt/nice/08-CG151.txt")
    assert isinstance(document, Document) and document.title == "Neutropenic Sepsis Prevention"
    assert "temp>38 or other signs" in document.text and "\n### Risk Assess" in document.text
