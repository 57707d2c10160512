"""N-grams against their definition, computed word by word."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.passport import ngrams as module
from medloom.passport.ngrams import BASE, mixed, ngrams, word_numbers

WORD = re.compile(r"\w+")
TEXTS = st.lists(st.text(st.characters(max_codepoint=0x2FF) | st.sampled_from(" \n.,-_€µ日本"), max_size=60), max_size=5)


def number_of(word: str) -> int:
    value = sum(ord(character) * pow(BASE, place, 1 << 64) for place, character in enumerate(word)) % (1 << 64)
    return int(mixed(np.array([value], np.uint64))[0])


def number_of_gram(numbers: list[int]) -> int:
    value = sum(number * pow(BASE, len(numbers) - place, 1 << 64) for place, number in enumerate(numbers)) % (1 << 64)
    return int(mixed(np.array([value], np.uint64))[0])


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_words_and_their_numbers_are_as_defined(texts: list[str]) -> None:
    numbers, offsets = word_numbers(texts)
    expected = [[number_of(word) for word in WORD.findall(text.lower())] for text in texts]
    assert [numbers[start:stop].tolist() for start, stop in itertools.pairwise(offsets)] == expected
    for n in (1, 3):
        grams, ends = ngrams(numbers, offsets, n)
        assert [grams[start:stop].tolist() for start, stop in itertools.pairwise(ends)] == [
            [number_of_gram(text[at : at + n]) for at in range(len(text) - n + 1)] for text in expected], "none runs into the next text"


def test_windows_do_not_show(shared: Path, monkeypatch: object) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted((shared / "corpus/general/books").rglob("*.md"))[:3]]
    whole, offsets = word_numbers(texts)
    assert np.diff(offsets).tolist() == [len(WORD.findall(text.lower())) for text in texts]
    monkeypatch.setattr(module, "WINDOW", 1000)  # type: ignore[attr-defined]
    module._tables.cache_clear()
    try:
        small, _ = word_numbers(texts)
    finally:
        module._tables.cache_clear()
    assert np.array_equal(whole, small)


def test_case_and_signs_do_not_matter_and_characters_do() -> None:
    numbers, offsets = word_numbers(["Give <5 mg; then WAIT.", "give 5 MG - then wait", "give 6 mg then wait"])
    one, two, three = (numbers[start:stop].tolist() for start, stop in itertools.pairwise(offsets))
    assert one == two and one != three
