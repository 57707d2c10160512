"""Order without a state: documents are split and shuffled by a hash of the seed and their id, never by when they arrived."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from medloom.passport.ngrams import Numbers, mixed


def name_keys(ids: Iterable[str]) -> Numbers:
    """A 64-bit number for each id, the same everywhere and always (BLAKE2b)."""
    return np.fromiter((int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") for text in ids),
                       np.uint64)


def drawn(keys: Numbers, *seeds: int | str) -> Numbers:
    """A number for each key that looks drawn at random and depends on the key and the seeds alone."""
    salt = int.from_bytes(blake2b("\0".join(map(str, seeds)).encode(), digest_size=8).digest(), "little")
    return mixed(mixed(keys ^ np.uint64(salt)))
