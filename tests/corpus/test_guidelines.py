"""Guidelines in HTML, PDF, Markdown and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.guidelines import read_guideline


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


def test_markdown_is_kept_as_it_stands(shared: Path) -> None:
    document = read(shared / "corpus/guidelines_txt/nice/08-CG151.txt")
    assert isinstance(document, Document) and document.title == "Neutropenic Sepsis Prevention"
    assert "temp>38 or other signs" in document.text and "\n### Risk Assess" in document.text
