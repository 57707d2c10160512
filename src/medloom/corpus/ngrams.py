"""Word n-grams as 64-bit numbers: what near-duplicate search and decontamination compare.

A word is a run of letters and digits in lower case. Its number is its BLAKE2b hash; an n-gram's is a polynomial of its words' numbers
modulo 2^64, mixed. Two unlike n-grams share a number with a chance of about 2^-64.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]

_WORD = re.compile(r"\w+")
_BASE = 0x9E3779B97F4A7C15  # odd, so that no word's number is lost in the product
_MIX = np.uint64(0xFF51AFD7ED558CCD)


def words(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=1 << 18)
def _number(word: str) -> int:
    return int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def word_numbers(tokens: list[str]) -> Numbers:
    """The numbers of words, in their order."""
    return np.fromiter(map(_number, tokens), np.uint64, len(tokens))


def ngrams(numbers: Numbers, n: int) -> Numbers:
    """The numbers of all n-grams, in their order: len(numbers) - n + 1 of them, none where there are fewer words than n."""
    count = len(numbers) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    total = np.zeros(count, np.uint64)
    for place in range(n):
        total += numbers[place : place + count] * np.uint64(pow(_BASE, n - place, 1 << 64))
    total ^= total >> np.uint64(33)
    total *= _MIX
    total ^= total >> np.uint64(33)
    return total
