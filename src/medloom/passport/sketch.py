"""The sketch: of all 8-word n-grams of a text the one in `sampling` whose number ends in zeros, cut to `bits` bits.

The same n-grams are sampled from every text (Broder's modulo sketch; FracMinHash, Irber et al. 2022), so whatever is sampled of a
benchmark was also sampled of the corpus if it stood there: none is missed. Cutting numbers to `bits` makes the file small and lets an
n-gram that was never read pass for one that was with a chance of at most entries / 2^bits, which the sketch states. It is a Parquet
file with one column of sorted numbers and its facts in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..ledger import Refusal
from ..ledger.files import atomic
from .ngrams import Numbers, ngrams, word_numbers

FILE = "passport.parquet"
N = 8  # words
SPARE_BITS = 16  # beyond the bits that number the entries: an unread n-gram passes for a read one once in 65,536 at most
BYTES = 2.5  # of an entry on disk; delta-coded, measured at 2.2 to 2.6
_KEY = b"medloom.passport"


@dataclass(frozen=True)
class Sketch:
    """`numbers`: sorted, without repeats. One n-gram of `n` words in `sampling` (a power of two) was taken; `words` were read in
    `documents` texts."""

    numbers: Numbers
    n: int
    sampling: int
    bits: int
    words: int
    documents: int

    @property
    def false_positive_rate(self) -> float:
        """The chance that an n-gram which was never read is found."""
        return len(self.numbers) / 2.0**self.bits

    def sampled(self, grams: Numbers) -> Numbers:
        """Those of some n-grams' numbers that the sketch would hold, had they been read, without repeats, as 64-bit numbers."""
        return np.unique(grams[(grams & np.uint64(self.sampling - 1)) == 0])

    def holds(self, grams: Numbers) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of some sampled n-grams were read."""
        if not len(self.numbers):
            return np.zeros(len(grams), bool)
        short = grams >> np.uint64(64 - self.bits)
        place = np.minimum(np.searchsorted(self.numbers, short), len(self.numbers) - 1)
        return np.asarray(self.numbers[place] == short)


def sampling_for(words: int, megabytes: float) -> int:
    """The smallest power of two at which a sketch of `words` words, had they no n-gram twice, stays below `megabytes`."""
    sampling = 1
    while words / sampling * BYTES > megabytes * 1e6:
        sampling *= 2
    return sampling


def sample(texts: Sequence[str], sampling: int) -> tuple[Numbers, int]:
    """(numbers, words): the sampled n-grams of some texts as 64-bit numbers, sorted, without repeats; and how many words were read."""
    numbers, offsets = word_numbers(texts)
    grams, _ = ngrams(numbers, offsets, N)
    return np.unique(grams[(grams & np.uint64(sampling - 1)) == 0]), len(numbers)


def bits_for(entries: int) -> int:
    """Bits of an entry, so that the false-positive rate is at most 2^-SPARE_BITS."""
    return min(64, max(entries, 1).bit_length() + SPARE_BITS)


def write_sketch(path: Path, numbers: Iterable[Numbers], *, bits: int, sampling: int, words: int, documents: int) -> int:
    """Write a sketch from blocks of 64-bit numbers which, one after the other, are sorted; how many entries it has.

    The file appears whole or not at all. Memory is that of a block.
    """
    facts = {"n": N, "sampling": sampling, "bits": bits, "words": words, "documents": documents}
    schema = pa.schema([("ngram", pa.uint64())], metadata={_KEY: json.dumps(facts).encode()})
    entries, before = 0, -1
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=False,
                                                     column_encoding={"ngram": "DELTA_BINARY_PACKED"}) as writer:
        for block in numbers:
            short = np.unique(block >> np.uint64(64 - bits))
            short = short[1:] if len(short) and int(short[0]) == before else short
            if len(short):
                entries, before = entries + len(short), int(short[-1])
                writer.write_table(pa.table({"ngram": short}, schema=schema))
    return entries


def read_sketch(place: Path) -> Sketch:
    """The sketch at `place`: the file, or a model's or run's folder that has one. Raises Refusal where there is none."""
    path = place
    if place.is_dir():
        runs = [place / "latest" / step / FILE for step in ("finetune", "pretrain", "tokens")]
        path = next((found for found in (place / FILE, *runs) if found.is_file()), place / FILE)
    if not path.is_file():
        raise Refusal(f"{path}: no contamination passport here; it lies beside the weights of a model trained by medloom, as {FILE}")
    try:
        table = pq.read_table(path)
        facts = json.loads((table.schema.metadata or {})[_KEY])
        return Sketch(table["ngram"].to_numpy(), **facts)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise Refusal(f"{path}: not a contamination passport ({str(error).splitlines()[0]})") from None


def extend_sketch(place: Path, texts: Sequence[str], out: Path) -> None:
    """Write to `out` the sketch at `place` with what some more texts hold: all that a model has read."""
    base = read_sketch(place)
    more, words = sample(texts, base.sampling)
    everything = np.unique(np.concatenate([base.numbers << np.uint64(64 - base.bits), more]))
    write_sketch(out, [everything], bits=base.bits, sampling=base.sampling, words=base.words + words,
                 documents=base.documents + len(texts))
