"""Word n-grams as 64-bit numbers: what near-duplicate search, decontamination and the passport compare.

A word is a run of letters, digits and underscores of the Basic Multilingual Plane, in lower case. Its number is the sum of
c[j] * B^j modulo 2^64 over its characters' code points c[0], c[1], …, mixed by the finaliser of MurmurHash3; an n-gram's is the sum
of w[k] * B^(n-k) over its words' numbers, mixed again. All arithmetic is on whole arrays: no word ever becomes a Python object.
Two unlike n-grams share a number with a chance of about 2^-64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Offsets = NDArray[np.int64]

BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse and no word's number is lost in the product
INVERSE = pow(BASE, -1, 1 << 64)
WINDOW = 1 << 16  # characters at a time: what fits into a core's own cache
_BEYOND = 0xFFFF  # no character; stands in for all that lie outside the plane


def word_numbers(texts: Sequence[str]) -> tuple[Numbers, Offsets]:
    """(numbers, offsets): the numbers of all words, text after text, and where each text's begin (len(texts) + 1, the last the total).

    A run of more than WINDOW letters, which no word is, may be cut.
    """
    lowered = [text.lower() for text in texts]
    begins = np.cumsum([0, *(len(text) + 1 for text in lowered)])
    joined = "\0".join(lowered)
    numbers, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    is_word, powers, inverses = _tables()
    for start, stop in _windows(joined):
        codes = np.frombuffer(joined[start:stop].encode("utf-32-le", "surrogatepass"), np.uint32)
        inside = np.zeros(len(codes) + 2, bool)
        np.take(is_word, np.minimum(codes, _BEYOND), out=inside[1:-1])
        edges = np.flatnonzero(inside[1:] != inside[:-1])
        first, last = edges[::2], edges[1::2]
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum(codes * powers[: len(codes)], out=sums[1:])
        numbers.append(mixed((sums[last] - sums[first]) * inverses[first]))
        places.append(first + start)
    return np.concatenate(numbers), np.searchsorted(np.concatenate(places), begins)


def ngrams(numbers: Numbers, offsets: Offsets, n: int) -> tuple[Numbers, Offsets]:
    """(grams, offsets): the numbers of all n-grams within each text, in their order; none where a text has fewer words than n."""
    lengths = np.maximum(np.diff(offsets) - n + 1, 0)
    ends = np.concatenate(([0], np.cumsum(lengths)))
    count = len(numbers) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64), ends
    total = np.zeros(count, np.uint64)
    for place in range(n):
        total += numbers[place : place + count] * np.uint64(pow(BASE, n - place, 1 << 64))
    within = np.ones(count, bool)
    for back in range(1, n):  # the last n - 1 words of a text begin an n-gram that runs into the next text
        at = offsets[1:] - back
        within[at[(at >= 0) & (at < count)]] = False
    return mixed(total[within]), ends


def mixed(values: Numbers) -> Numbers:
    """Values with every bit spread over all bits (MurmurHash3's 64-bit finaliser), one to one."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def distinct(values: Numbers) -> Numbers:
    """Values sorted, each once. By sorting: numpy's own way through a hash table takes several times as long for many unlike values."""
    ordered = np.sort(values)
    return np.asarray(ordered[np.concatenate((np.ones(min(len(ordered), 1), bool), ordered[1:] != ordered[:-1]))])


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Consecutive windows of a text, cut at a space where there is one."""
    start = 0
    while start < len(text):
        stop = min(start + WINDOW, len(text))
        if stop < len(text):
            stop = max(text.rfind(" ", start, stop) + 1, text.rfind("\0", start, stop) + 1) or stop
        yield start, stop
        start = stop


@cache
def _tables() -> tuple[NDArray[np.bool_], Numbers, Numbers]:
    """Which code points belong to words; the powers of BASE and of its inverse, one for each place in a window."""
    is_word = np.fromiter((chr(code).isalnum() or code == ord("_") for code in range(_BEYOND + 1)), bool, _BEYOND + 1)
    powers, inverses = np.full((2, WINDOW + 1), 1, np.uint64)
    powers[1:], inverses[1:] = BASE, INVERSE
    return is_word, np.multiply.accumulate(powers), np.multiply.accumulate(inverses)
