"""Cleaning changes characters and spaces, never what a text says."""

from __future__ import annotations

import pytest

from medloom.corpus.clean import clean, decode, one_line


@pytest.mark.parametrize(
    "text",
    [
        "dose <5 mg/kg; if age > 3 y",
        "or take fluids\nobesity is a risk\no is a letter",
        "Give amoxicillin [see table 2] (not in allergy).",
        "temperature >38 °C, 5\u201310 µg, x² ≤ 3, naïve",
        "def f(x):\n    return x < 3 and x > 1",
        "The trial (NCT01234567) [95% CI 0.4 to 0.9] <unk>",
    ],
)
def test_meaning_survives(text: str) -> None:
    assert clean(text) == text


def test_marks_and_spaces_are_brought_into_one_form() -> None:
    assert clean("\ufeff• one\u00a0 two\u200b\r\n ▪ three\x00\r\n\r\n\r\n\r\nfour \t five  ") == "- one two\n - three\n\nfour five"
    assert clean("e\u0301") == "é"
    assert one_line("  A \n title\t here ") == "A title here"
    assert one_line(" \u200b ") is None


def test_wrong_encodings_are_read() -> None:
    assert decode("µg naïve".encode("cp1252")) == "µg naïve"
    assert decode("µg".encode("utf-16")) == "µg"
    assert decode(b"\xef\xbb\xbfabc") == "abc"
