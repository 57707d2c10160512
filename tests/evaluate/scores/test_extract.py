"""Answers read out of texts, held against a careful reading of several hundred of them.

said.jsonl was written in six rounds. The rule was made for the first; of each further one, which it had not seen, it first read 67, 75, 95
and, of the fifth, which another wrote to break it, 88 % as a person does, before it was mended. Of the sixth (thinking aloud in tags,
tables, several boxes, other tongues, chains cut short), written to break it by one who had read the rule, it read 33 of 40, 82 %. All have
to hold now.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medloom.evaluate import Item
from medloom.evaluate.scores.extract import read_choice

SAID = [json.loads(line) for line in (Path(__file__).parent / "said.jsonl").read_text(encoding="utf-8").splitlines()]
DRUGS = ("Metformin", "Insulin glargine", "Lisinopril", "Warfarin")


def item(*options: str) -> Item:
    return Item("i", "Which?", options, 0, lettered=options != ("yes", "no", "maybe"))


def test_a_careful_reading_is_agreed_with() -> None:
    assert len(SAID) >= 400 and len({(said["text"], *said["options"]) for said in SAID}) >= 395
    wrong = [said["text"] for said in SAID if read_choice(said["text"], item(*said["options"])) != said["expected"]]
    assert len(wrong) <= 0.005 * len(SAID), wrong


@pytest.mark.parametrize(("text", "expected"), [
    ("because of the kidney", None), ("Because", None), ("Cannot say.", None), ("due to renal failure", None), ("Diabetes", None),
    ("The answer is not B but C.", 2), ("A. Metformin is wrong. The answer is C.", 2), ("Both A and C", None), ("", None)])
def test_what_fools_a_first_character(text: str, expected: int | None) -> None:
    assert read_choice(text, item(*DRUGS)) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("<think>The answer is A.</think>I cannot say.", None), ("The answer is A.</think>\n\nD", 3), ("<think>The answer is A.</think>\n", 0),
    ("<thinking>A is right.</thinking> Let me see. <thinking>B is right.</thinking> The answer is C.", 2)])
def test_thinking_is_read_only_where_nothing_follows(text: str, expected: int | None) -> None:
    assert read_choice(text, item(*DRUGS)) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("The answer is neither A nor B.", None), ("It is neither metformin nor warfarin.", None),
    ("It's neither A nor B. The answer is C.", 2), ("The answer is C; it is neither a statin nor insulin.", 2),
    ("\\boxed{A or B}", None), ("\\boxed{A}, no: \\boxed{B}", 1)])
def test_neither_denies_and_the_last_box_counts(text: str, expected: int | None) -> None:
    assert read_choice(text, item(*DRUGS)) == expected


def test_letters_beyond_the_options_are_no_answers() -> None:
    assert read_choice("E", item(*DRUGS)) is None and read_choice("E", item(*DRUGS, "Observation")) == 4


def test_every_letter_and_every_option_is_read_alike() -> None:
    options = item(*(f"drug number {number}" for number in range(10)))
    for number, letter in enumerate("ABCDEFGHIJ"):
        for text in (letter, f"({letter})", f" {letter}.", f"The answer is {letter}.", f"The answer is: ({letter}) drug number {number}",
                     f"Let us see. A is wrong.\nThe answer is: {letter} ###", f"drug number {number}"):
            assert read_choice(text, options) == number, text
