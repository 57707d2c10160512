"""Cleaning changes characters and spaces, never what a text says."""

from __future__ import annotations

import re
import time
from pathlib import Path
from statistics import median

import pytest

from medloom.corpus.readers.clean import clean, decode, one_line

# What Meditron's cleaning made of each (reference: its gap-replay scripts), against what it must stay.
DAMAGES = {
    "a leading letter o was taken for a bullet": "obesity is a risk\nor take fluids\nof 9, two died\no is a letter\nOtitis",
    "all between < and > was taken for a tag": "dose <5 mg/kg; if age > 3 y, p<0.05 and n>30; <i>E. coli</i> <unk>",
    "all in brackets was taken for a reference": "Give it [see table 2] (not in allergy) [95% CI 0.4 to 0.9] of [3H]thymidine [sic].",
    "a linked word went with its link": "Follow the [sepsis pathway](https://x.org/sepsis) now.",
    "addresses were cut out of sentences": "See https://www.who.int/a?b=1&c=%20d (and www.x.org//e). One tablet and/or 5 mg//kg.",
    "lines without letters were dropped": "Score\n\n0\n1\n2\n\n> 90 / 60\n\n---",
    "headings were lowered": "# pH AND pCO2 IN HIV\n\n#### Depth 4\n\ntext",
}


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


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_originals_damage_is_not_done(damage: str) -> None:
    assert clean(DAMAGES[damage]) == DAMAGES[damage]


def test_a_decimal_point_in_mid_line_height_is_no_bullet() -> None:
    assert clean("Give\n·5 mg twice\n· or wait\n∙rest\n0·25 mg") == "Give\n·5 mg twice\n- or wait\n- rest\n0·25 mg"


def test_indentation_stays_and_space_elsewhere_goes() -> None:
    assert clean("- one  two\t three\n    - four \t  five\t\n  \t \n\tsix  ") == "- one two three\n    - four five\n\n\tsix"
    assert clean("a  b \nc   d  \n\n\n\n\ne") == "a b\nc d\n\ne"
    assert clean("é  b \nc\x85d\x07  \u3000e\u2029f") == "é b\nc\nd e\n\nf"


@pytest.mark.parametrize("text", ["a\n" + " " * 10**6 + "b", ("x" + " " * 10**5) * 10, ("\t" * 10**5 + "\n") * 10, "\n" * 10**6 + "é",
                                  "• " * 10**5, " \t" * 10**5 + "•", "é" + " \u200b\t" * 10**5])
def test_no_run_of_space_takes_longer_than_its_length_warrants(text: str) -> None:
    started = time.process_time()
    clean(text)
    assert time.process_time() - started < 2, "a million characters; what is quadratic would take minutes"


def test_cleaning_is_quicker_than_one_careless_pass(shared: Path) -> None:
    texts = [path.read_text() for path in sorted((shared / "corpus/general/books").glob("*.md"))[:6]]
    seconds: dict[str, list[float]] = {"ours": [], "careless": []}
    for _ in range(5):
        for name, work in (("ours", clean), ("careless", lambda text: re.sub(r"\s+", " ", text))):
            started = time.process_time()
            for text in texts:
                work(text)
            seconds[name].append(time.process_time() - started)
    assert median(seconds["ours"]) < median(seconds["careless"])


def test_marks_and_spaces_are_brought_into_one_form() -> None:
    assert clean("\ufeff• one\u00a0 two\u200b\r\n ▪ three\x00\r\n\r\n\r\n\r\nfour \t five  ") == "- one two\n - three\n\nfour five"
    assert clean("e\u0301") == "é"
    assert one_line("  A \n title\t here ") == "A title here"
    assert one_line(" \u200b ") is None


def test_wrong_encodings_are_read() -> None:
    assert decode("µg naïve".encode("cp1252")) == "µg naïve"
    assert decode("µg".encode("utf-16")) == "µg"
    assert decode(b"\xef\xbb\xbfabc") == "abc"
