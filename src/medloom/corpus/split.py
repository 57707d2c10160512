"""Order without a state: documents are split and shuffled by a hash of the seed and their id, never by when they arrived."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def order_keys(ids: Iterable[str], *seeds: int | str) -> NDArray[np.uint64]:
    """A number for each id that looks drawn at random and depends on the id and the seeds alone."""
    salt = "\0".join(map(str, seeds)).encode()
    head = blake2b(salt, digest_size=8)

    def key(text: str) -> int:
        state = head.copy()
        state.update(b"\0" + text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(state.digest(), "little")

    return np.fromiter(map(key, ids), np.uint64)


def held_out(ids: list[str], seed: int, share: float, most: int) -> NDArray[np.bool_]:
    """Which documents are for validation: `share` of them, at most `most`, at least one where there are two; those of the lowest keys."""
    count = min(most, max(1, round(share * len(ids)))) if len(ids) > 1 else 0
    chosen = np.zeros(len(ids), bool)
    chosen[np.argsort(order_keys(ids, seed, "validation"), kind="stable")[:count]] = True
    return chosen
