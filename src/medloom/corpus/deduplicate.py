"""Keys by which duplicates are found: exact, and near (MinHash).

Near-duplicates: Broder's MinHash over word 5-grams, 14 bands of 8 rows. Two texts with a Jaccard similarity s of their
5-grams meet there with a chance of 1 - (1 - s^8)^14: 0.56 at 0.7, 0.92 at 0.8, 0.9996 at 0.9. From the same 112 values 13 more bands are
made, each of half of one band and half of the next, which costs next to nothing and finds half of what the 14 alone would miss.
Documents that meet are linked, and linked ones form a set, of which the document of the lowest rank stays (`choose`).
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medloom.passport.ngrams import BASE, Numbers, Offsets, mixed, ngrams

SHINGLE, BANDS, ROWS, SEED = 5, 14, 8, 42
STARTS = range(0, BANDS * ROWS - ROWS + 1, ROWS // 2)  # the first value of each band, those between two included


def text_keys(numbers: Numbers, offsets: Offsets) -> list[bytes]:
    """For each text 16 bytes that two of them share where their words are the same, whatever their case, spaces and signs."""
    whole = numbers.astype("<u8").tobytes()
    return [blake2b(whole[8 * start : 8 * stop], digest_size=16).digest() for start, stop in pairwise(offsets.tolist())]


def band_keys(numbers: Numbers, offsets: Offsets) -> tuple[Numbers, NDArray[np.bool_]]:
    """(keys, has): for each text that has a shingle its keys, an array (texts with one, len(STARTS)), and which texts those are.

    Two texts that share a key are candidates. A text below SHINGLE words has none: it can only be an exact duplicate.
    """
    from rensa import RMinHash

    shingles, ends = ngrams(numbers, offsets, SHINGLE)
    has = np.diff(ends) > 0
    bounds = ends[np.concatenate(([True], has))].astype(np.uint64)
    signatures = RMinHash.digest_matrix_from_flat_token_hashes(shingles, bounds, BANDS * ROWS, SEED).to_rows()
    values = np.array(signatures, np.uint64).reshape(-1, BANDS * ROWS)
    keys = np.broadcast_to(np.arange(len(STARTS), dtype=np.uint64), (len(values), len(STARTS)))
    for row in range(ROWS):
        keys = mixed(keys * np.uint64(BASE) + values[:, [start + row for start in STARTS]])
    return keys, has


def first_of_linked(left: NDArray[np.int64], right: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(members, firsts): all that the links join to something before them, and for each the lowest number of its set."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    members = np.unique(np.concatenate([left, right]))
    ends = np.searchsorted(members, left), np.searchsorted(members, right)
    links = coo_matrix((np.ones(len(left), np.int8), ends), shape=(len(members), len(members)))
    _, component = connected_components(links, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    firsts = members[first[inverse]]
    later = members != firsts
    return members[later], firsts[later]
