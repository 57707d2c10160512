"""The contamination passport of a training run: a sketch of all texts that its order reads, made shard by shard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medloom.ledger import Progress
from medloom.ledger.files import atomic, sha256_file, sha256_json
from medloom.passport import FILE, as_entries, bits_for, sample, sampling_for, write_sketch
from medloom.passport.ngrams import distinct
from medloom.recipe import Corpus

from .document import ShardWriter, tables
from .engine import run_shards

SAMPLED = pa.schema([("ngram", pa.uint64())])
BYTES_A_WORD = 5  # fewer than any language of ours has: the guess of how many words there are is to err to the greater side


@dataclass(frozen=True)
class Sampling:
    """One shard of the corpus to sample: its documents' rows in the store, which of them are read (`flags` from `start` on), and one
    n-gram in how many is taken."""

    part: Path
    documents: Path
    flags: Path
    flags_digest: str
    start: int
    sampling: int
    out: Path

    @property
    def record(self) -> Path:
        """The record of the shard."""
        return self.out.with_suffix(".json")

    @property
    def digest(self) -> str:
        """What is read, and how much of it is sampled."""
        return sha256_json([self.part.name, self.part.stat().st_size, self.flags_digest, self.start, self.sampling])


def write_passport(parts: Sequence[tuple[Path, Path, int]], read: NDArray[np.bool_], size: int, settings: Corpus, out: Path, state: Path,
                   progress: Progress) -> dict[str, Any]:
    """Write `out/passport.parquet`, at most `settings.passport_mb` large: the sampled n-grams of the documents that are read.

    `parts` are the corpus's shards, each with its documents' rows in the store and their number; `read` says of all rows, in that order,
    whether they are read (a document of which one piece is read counts as read); `size` is the bytes of what is read. Returned are its
    facts.
    """
    flags = state / "read.npy"
    with atomic(flags) as temporary, temporary.open("wb") as stream:
        np.save(stream, read)
    digest = sha256_file(flags)
    sampling = sampling_for(int(size / BYTES_A_WORD), settings.passport_mb)
    shards, start = [], 0
    for part, documents, count in parts:
        shards.append(Sampling(part, documents, flags, digest, start, sampling, state / f"sampled-{part.name.removeprefix('part-')}"))
        start += count
    records = run_shards(sample_shard, shards, settings, size=size, progress=progress, name="sample the passport", stage="tokens")
    words, texts = (sum(record[name] for record in records) for name in ("words", "documents"))
    # As many numbers as `settings.passport_mb` has room for, 8 bytes each: they fit into memory.
    sampled = distinct(np.concatenate([pq.read_table(shard.out)["ngram"].to_numpy() for shard in shards]))
    bits = bits_for(len(sampled))
    found = distinct(as_entries(sampled, sampling, bits))
    write_sketch(out / FILE, found, sampling=sampling, bits=bits, words=words, documents=texts)
    return {"entries": len(found), "sampling": sampling, "bits": bits, "false_positive_rate": len(found) / 2.0**bits, "words": words,
            "documents": texts, "bytes": (out / FILE).stat().st_size}


def sample_shard(task: Sampling) -> Mapping[str, Any]:
    """Write the sampled n-grams of a shard's read documents."""
    rows = pq.read_table(task.documents, columns=["id"])["id"]
    read = np.load(task.flags, mmap_mode="r")[task.start : task.start + len(rows)]
    ids = pc.unique(rows.filter(pa.array(np.array(read))))
    words = documents = 0
    with ShardWriter(task.out, SAMPLED) as writer:
        for table in tables(task.part, ["id", "text"]):
            texts = table.filter(pc.is_in(table["id"], ids))["text"].to_pylist()
            numbers, counted = sample(texts, task.sampling)
            words, documents = words + counted, documents + len(texts)
            writer.add_table(pa.table({"ngram": numbers}))
    return {"words": words, "documents": documents}
