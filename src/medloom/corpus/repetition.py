"""How much of a text says again what it said before: menus, error loops and forms repeat themselves, prose hardly does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medloom.passport.ngrams import BASE, Numbers, Offsets, ngrams

RUN = 10  # words; the longest of the n-grams that Rae et al. 2021 (arXiv:2112.11446, table A1) count


def repeated_share(numbers: Numbers, offsets: Offsets) -> NDArray[np.float64]:
    """For each text, as its word numbers, the share of words that lie in a run of RUN words which stood in the text before."""
    sizes = np.diff(offsets)
    grams, ends = ngrams(numbers, offsets, RUN)
    owners = np.repeat(np.arange(len(sizes)), np.diff(ends))
    own = grams + owners.astype(np.uint64) * np.uint64(BASE)  # equal within a text alone
    ordered = np.sort(own)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return np.zeros(len(sizes))
    places = np.flatnonzero(np.isin(own, twice))
    places = places[np.argsort(own[places], kind="stable")]
    again = places[1:][own[places][1:] == own[places][:-1]]
    starts = again - ends[owners[again]] + offsets[owners[again]]
    edges = np.zeros(len(numbers) + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, starts + RUN, -1)
    covered = np.concatenate(([0], np.cumsum(np.cumsum(edges[:-1]) > 0)))
    return np.asarray((covered[offsets[1:]] - covered[offsets[:-1]]) / np.maximum(sizes, 1))
