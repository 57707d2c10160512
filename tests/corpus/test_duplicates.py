"""Near-duplicates on real abstracts with planted copies."""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest

from medloom.corpus.deduplicate import band_keys, first_of_linked
from medloom.corpus.document import Origin
from medloom.corpus.readers.medline import Versioned, read_medline
from medloom.passport.ngrams import word_numbers

WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def firsts(texts: list[str]) -> np.ndarray:
    """For each text the first of its set, by way of the bands that two of them share."""
    keys, has = band_keys(*word_numbers(texts))
    owners = np.repeat(np.flatnonzero(has), keys.shape[1])
    seen: dict[int, int] = {}
    links = [(seen.setdefault(key, owner), owner) for key, owner in zip(keys.ravel().tolist(), owners.tolist(), strict=True)]
    left, right = np.array([pair for pair in links if pair[0] != pair[1]] or np.zeros((0, 2), np.int64)).T
    result = np.arange(len(texts))
    members, first = first_of_linked(left, right)
    result[members] = first
    return result


def test_a_survivor_is_the_first_of_its_set() -> None:
    members, first = first_of_linked(np.array([4, 1]), np.array([5, 4]))  # 5 meets 4, and 4 meets 1
    assert members.tolist() == [4, 5] and first.tolist() == [1, 1]


def test_a_text_below_a_shingle_has_no_bands() -> None:
    keys, has = band_keys(*word_numbers(["one two three four", "", "one two three four five", "ONE, two: three four - five!"]))
    assert has.tolist() == [False, False, True, True] and (keys[0] == keys[1]).all() and keys.shape == (2, 27)
    assert band_keys(*word_numbers(["a b"]))[0].shape == (0, 27)


def meeting_chance(text: str, other: str) -> float:
    """1 - (1 - J^8)^14, with J the Jaccard similarity of the sets of word 5-grams."""
    one, two = ({tuple(tokens[n : n + 5]) for n in range(len(tokens) - 4)} for tokens in (words(text), words(other)))
    return float(1 - (1 - (len(one & two) / len(one | two)) ** 8) ** 14)


@pytest.mark.slow
def test_planted_copies_of_real_abstracts_are_found(shared: Path) -> None:
    faults: list[tuple[str, str]] = []
    items = read_medline(shared / "corpus/medline/pubmed20n0014.xml.gz", Origin("a", "medical", "a"), faults)
    texts = []
    for item in items:
        if isinstance(item, Versioned) and len(item.document.text.split()) > 80:
            texts.append(item.document.text)
        if len(texts) == 1500:
            break
    draw = random.Random(1)
    plants: dict[str, list[str]] = {"exact": [], "sentence": [], "words": []}
    for text in texts[:200]:
        plants["exact"].append(text.upper())
        sentences = text.split(". ")
        del sentences[draw.randrange(len(sentences))]
        plants["sentence"].append(". ".join(sentences))
        plants["words"].append(" ".join(word if draw.random() > 0.03 else "replaced" for word in text.split()))
    corpus = texts + [text for kind in plants.values() for text in kind]
    first = firsts(corpus)
    for n, (kind, copies) in enumerate(plants.items()):
        found = float(np.mean(first[1500 + 200 * n : 1700 + 200 * n] < 1500))
        expected = float(np.mean([meeting_chance(text, copy) for text, copy in zip(texts, copies, strict=False)]))
        assert found >= expected - 0.02, f"{kind}: {found} found, {expected} by Broder's formula for the 14 bands alone"
    assert (first[:1500] != np.arange(1500)).sum() <= 15, "real abstracts are not each other's duplicates"
