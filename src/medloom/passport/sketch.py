"""The sketch: of all 8-word n-grams of a text the one in `sampling` whose number is among the lowest, cut to `bits` bits.

The same n-grams are sampled from every text (a modulo sketch by Broder 1997; FracMinHash, Irber et al. 2022), so whatever is sampled of a
benchmark was also sampled of the corpus if it stood there: none is missed. Cutting numbers to `bits` makes the file small and lets an
n-gram that was never read pass for one that was with a chance of at most entries / 2^bits, which the sketch states. It is a Parquet
file with one column of sorted numbers and its facts in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..ledger import Refusal
from ..ledger.files import atomic
from .ngrams import Numbers, distinct, ngrams, word_numbers

FILE = "passport.parquet"
N = 8  # words
SPARE_BITS = 16  # beyond the bits that number the entries: an unread n-gram passes for a read one once in 65,536 at most
BYTES = 2.5  # of an entry on disk, delta-coded
_KEY = b"medloom.passport"


@dataclass(frozen=True)
class Sketch:
    """`entries`: sorted, without repeats. One n-gram of `n` words in `sampling` (a power of two) was taken: those whose 64-bit number is
    below 2^64 / sampling; of a number, the `bits` bits below that bound are an entry. `words` were read in `documents` texts."""

    entries: Numbers
    n: int
    sampling: int
    bits: int
    words: int
    documents: int

    @property
    def false_positive_rate(self) -> float:
        """The chance that an n-gram which was never read is found."""
        return len(self.entries) / 2.0**self.bits

    def holds(self, grams: Numbers) -> NDArray[np.bool_]:
        """Which of some n-grams, as `sampled` gives them, were read."""
        if not len(self.entries):
            return np.zeros(len(grams), bool)
        wanted = as_entries(grams, self.sampling, self.bits)
        place = np.minimum(np.searchsorted(self.entries, wanted), len(self.entries) - 1)
        return np.asarray(self.entries[place] == wanted)

    def coarser(self, sampling: int, bits: int) -> Sketch:
        """The sketch as it would be had fewer n-grams been taken, and fewer bits kept."""
        step = (sampling // self.sampling).bit_length() - 1
        kept = self.entries[self.entries < np.uint64(1) << np.uint64(self.bits - step)] >> np.uint64(self.bits - step - bits)
        return Sketch(distinct(kept), self.n, sampling, bits, self.words, self.documents)


EMPTY = Sketch(np.zeros(0, np.uint64), N, sampling=1, bits=40, words=0, documents=0)


def sampled(grams: Numbers, sampling: int) -> Numbers:
    """Those of some n-grams' numbers that are sampled, sorted, without repeats."""
    return distinct(grams[grams <= np.uint64((1 << 64) // sampling - 1)])


def as_entries(numbers: Numbers, sampling: int, bits: int) -> Numbers:
    """Sampled 64-bit numbers as entries of a sketch."""
    return np.asarray((numbers * np.uint64(sampling)) >> np.uint64(64 - bits))


def sampling_for(words: int, megabytes: float) -> int:
    """The smallest power of two at which a sketch of `words` words, had they no n-gram twice, stays below `megabytes`."""
    sampling = 1
    while words / sampling * BYTES > megabytes * 1e6:
        sampling *= 2
    return sampling


def sample(texts: Sequence[str], sampling: int) -> tuple[Numbers, int]:
    """(numbers, words): the sampled n-grams of some texts as 64-bit numbers, sorted, without repeats; and how many words were read."""
    numbers, offsets = word_numbers(texts)
    return sampled(ngrams(numbers, offsets, N)[0], sampling), len(numbers)


def bits_for(entries: int) -> int:
    """Bits of an entry, so that the false-positive rate is at most 2^-SPARE_BITS."""
    return max(entries, 1).bit_length() + SPARE_BITS


def write_sketch(path: Path, entries: Numbers, *, sampling: int, bits: int, words: int, documents: int) -> None:
    """Write a sketch of entries, sorted, without repeats. The file appears whole or not at all."""
    facts = {"n": N, "sampling": sampling, "bits": bits, "words": words, "documents": documents}
    schema = pa.schema([("ngram", pa.uint64())], metadata={_KEY: json.dumps(facts).encode()})
    with atomic(path) as temporary:
        # The gaps between random numbers, packed into their bits, are as small as they can be: packing them again gains nothing.
        pq.write_table(pa.table({"ngram": entries}, schema=schema), temporary, row_group_size=1 << 20, compression="none",
                       use_dictionary=False, column_encoding={"ngram": "DELTA_BINARY_PACKED"})


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


def sketch_of(texts: Sequence[str], like: Sketch) -> Sketch:
    """The sketch of a few texts, in memory, as finely sampled as another."""
    numbers, words = sample(texts, like.sampling)
    return Sketch(distinct(as_entries(numbers, like.sampling, like.bits)), like.n, like.sampling, like.bits, words, len(texts))


def join_sketches(sketches: Sequence[Sketch], out: Path) -> None:
    """Write to `out` the sketch of all that some sketches have read, as coarsely sampled as the coarsest of them.

    One whose n-grams all stand in those before it was read before: its words and documents do not count again.
    """
    sampling = max(sketch.sampling for sketch in sketches)
    bits = min(sketch.bits - (sampling // sketch.sampling).bit_length() + 1 for sketch in sketches)
    entries, words, documents = np.zeros(0, np.uint64), 0, 0
    for sketch in sketches:
        alike = sketch.coarser(sampling, bits)
        if not np.isin(alike.entries, entries).all():
            entries, words, documents = distinct(np.concatenate([entries, alike.entries])), words + alike.words, documents + alike.documents
    write_sketch(out, entries, sampling=sampling, bits=bits, words=words, documents=documents)
