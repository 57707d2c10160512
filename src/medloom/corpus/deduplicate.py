"""Duplicates: by identifier, exact, and near (MinHash). Of each set the document of the lowest rank stays.

A document's rank is its place in the order (source's place in the recipe, id), so the survivor does not depend on which
file was read first. Near-duplicates: Broder's MinHash over word 5-grams, 14 bands of 8 rows. Two texts with a Jaccard similarity s of
their 5-grams meet with a chance of 1 - (1 - s^8)^14: 0.56 at 0.7, 0.92 at 0.8, 0.9996 at 0.9. Documents that meet are linked, and
linked ones form a set.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .ngrams import Numbers, ngrams

SHINGLE, BANDS, ROWS, SEED = 5, 14, 8, 42


def text_key(tokens: Sequence[str]) -> bytes:
    """16 bytes that two texts share where their words are the same, whatever their case, spaces and signs."""
    return blake2b(" ".join(tokens).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def band_keys(texts: Sequence[Numbers]) -> NDArray[np.uint64]:
    """For texts as word numbers, their MinHash bands: an array (texts, BANDS). Texts with an equal number in a column are candidates.

    A text shorter than a shingle is one shingle.
    """
    from rensa import RMinHash

    shingles = [grams if len(grams := ngrams(numbers, SHINGLE)) else ngrams(numbers, max(len(numbers), 1)) for numbers in texts]
    ends = np.cumsum([0, *map(len, shingles)]).astype(np.uint64)
    flat = np.concatenate([*shingles, np.zeros(0, np.uint64)])
    signatures = np.array(RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, BANDS * ROWS, SEED).to_rows(), dtype="<u4")
    signatures = signatures.reshape(len(texts), BANDS, ROWS)
    keys = [[int.from_bytes(blake2b(band.tobytes(), digest_size=8).digest(), "little") for band in row] for row in signatures]
    return np.array(keys, np.uint64).reshape(len(texts), BANDS)


def near_duplicates(bands: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each document (rows, in the order of rank) the first of its set; itself where it has no duplicate before it."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(bands)
    left, right = [], []
    for column in bands.T:
        order = np.argsort(column, kind="stable")
        same = column[order][:-1] == column[order][1:]
        left.append(order[:-1][same])
        right.append(order[1:][same])
    if not left:
        return np.arange(count)
    edges = np.concatenate(left), np.concatenate(right)
    links = coo_matrix((np.ones(len(edges[0]), np.int8), edges), shape=(count, count))
    _, component = connected_components(links, directed=False)
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return first[inverse]
