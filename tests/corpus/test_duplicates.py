"""Near-duplicates on real abstracts with planted copies, and n-grams against their definition."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from medloom.corpus.deduplicate import band_keys, near_duplicates
from medloom.corpus.document import Origin
from medloom.corpus.medline import Versioned, read_medline
from medloom.corpus.ngrams import ngrams, word_numbers, words


def test_ngrams_are_equal_where_the_words_are() -> None:
    first, second = words("Give 5 mg of it, then WAIT and see."), words("give 5 MG of it then wait - and leave")
    one, other = ngrams(word_numbers(first), 3), ngrams(word_numbers(second), 3)
    same = [first[n : n + 3] == second[n : n + 3] for n in range(len(one))]
    assert (one == other).tolist() == same and any(same) and not all(same)
    assert len(set(one.tolist())) == len(one) and len(ngrams(word_numbers(first), 40)) == 0


def test_a_survivor_is_the_first_of_its_set() -> None:
    bands = np.arange(6 * 14, dtype=np.uint64).reshape(6, 14)
    bands[4, 3], bands[5, 0] = bands[1, 3], bands[4, 0]  # 5 meets 4, and 4 meets 1
    assert near_duplicates(bands).tolist() == [0, 1, 2, 3, 1, 1]


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
    first = near_duplicates(band_keys([word_numbers(words(text)) for text in corpus]))
    for n, (kind, copies) in enumerate(plants.items()):
        found = float(np.mean(first[1500 + 200 * n : 1700 + 200 * n] < 1500))
        expected = float(np.mean([meeting_chance(text, copy) for text, copy in zip(texts, copies, strict=False)]))
        assert abs(found - expected) < 0.05, f"{kind}: {found} found, {expected} by Broder's formula"
    assert (first[:1500] != np.arange(1500)).sum() <= 15, "real abstracts are not each other's duplicates"
