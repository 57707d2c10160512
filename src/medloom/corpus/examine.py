"""What can be told of a document by itself: whether it passes the filters, and the keys by which duplicates of it are found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medloom.ledger.files import sha256_json
from medloom.passport.ngrams import word_numbers
from medloom.recipe import Corpus

from .decontaminate import Guard, read_guard
from .deduplicate import band_keys, text_keys
from .document import ShardWriter, tables
from .order import drawn, name_keys
from .repetition import RUN, repeated_share

VERSION = 1
INDEX = pa.schema(
    [("id", pa.string()), ("source", pa.int32()), ("shard", pa.int32()), ("row", pa.int64()),
     ("pmid", pa.string()), ("pmcid", pa.string()), ("doi", pa.string()), ("corpus_id", pa.string()), ("language", pa.string()),
     ("reason", pa.string()), ("detail", pa.string()), ("split", pa.uint64()), ("text_key", pa.binary(16)),
     ("bands", pa.list_(pa.uint64()))]
)
READ = ["id", "text", "licence", "language", "pmid", "pmcid", "doi", "corpus_id"]
DETECTED_FROM = 2000  # characters of a text by which its language is told
NEARLY = 3.0  # natural log of the odds, so 20 to 1


@dataclass(frozen=True)
class Examination:
    """One shard to examine: its number and that of its source in the recipe, the rules, and where the index of it goes."""

    shard: Path
    number: int
    source: int
    settings: Corpus
    benchmarks: tuple[Path, ...]
    seed: int
    index: Path

    @property
    def record(self) -> Path:
        """The record of the examination."""
        return self.index.with_suffix(".json")

    @cached_property
    def digest(self) -> str:
        """The rules, and names and sizes of what is examined; the step digests its contents."""
        files = [[path.name, path.stat().st_size] for path in (self.shard, *self.benchmarks)]
        return sha256_json([VERSION, files, self.number, self.source, self.seed, self.settings.what()])


@lru_cache(maxsize=1)
def guard_of(benchmarks: tuple[Path, ...], threshold: float) -> Guard:
    """The guard of some question files, read once in a process."""
    return read_guard(benchmarks, threshold)


def examine(task: Examination) -> Mapping[str, Any]:
    """Write the index of a shard: a row of schema INDEX per document, in its order."""
    with ShardWriter(task.index, INDEX) as writer:
        for table in tables(task.shard, READ):
            writer.add_table(_indexed(table, writer.rows, task))
    return {"documents": writer.rows}


def _indexed(table: pa.Table, start: int, task: Examination) -> pa.Table:
    settings, count = task.settings, len(table)
    columns = {name: table[name].to_pylist() for name in READ}
    texts = columns["text"]
    languages = [language or detect_language(text, settings.languages)
                 for language, text in zip(columns["language"], texts, strict=True)]
    numbers, offsets = word_numbers(texts)
    verdicts = _by_themselves(columns, languages, settings)
    if settings.max_repetition is not None:
        shares = repeated_share(numbers, offsets)
        for place in np.flatnonzero(shares > settings.max_repetition).tolist():
            verdicts.setdefault(place, ("repetition", f"{shares[place]:.0%} of the words stand in a run of {RUN} words for a second time"))
    if task.benchmarks and settings.decontaminate is not None:
        guard = guard_of(task.benchmarks, settings.decontaminate)
        for place, verdict in guard.find(numbers, offsets, columns["pmid"]).items():
            verdicts.setdefault(place, verdict)
    reasons, details = (pa.array([verdicts[place][part] if place in verdicts else None for place in range(count)], pa.string())
                        for part in (0, 1))
    found = {"source": pa.array(np.full(count, task.source, np.int32)), "shard": pa.array(np.full(count, task.number, np.int32)),
             "row": pa.array(np.arange(start, start + count)), "language": pa.array(languages, pa.string()),
             "reason": reasons, "detail": details, "split": pa.array(drawn(name_keys(columns["id"]), task.seed, "validation")),
             "text_key": pa.array(text_keys(numbers, offsets), pa.binary(16)),
             "bands": _bands(numbers, offsets) if settings.near_duplicates else pa.nulls(count, pa.list_(pa.uint64()))}
    return pa.table([found[name] if name in found else table[name] for name in INDEX.names], schema=INDEX)


def _by_themselves(columns: Mapping[str, Sequence[Any]], languages: Sequence[str], settings: Corpus) -> dict[int, tuple[str, str]]:
    """Why documents are dropped: the first rule that each breaks."""
    allowed = {name.lower() for name in settings.licences} if settings.licences is not None else None
    verdicts = {}
    for place, (text, licence, language) in enumerate(zip(columns["text"], columns["licence"], languages, strict=True)):
        if allowed is not None and (licence or "").lower() not in allowed:
            verdicts[place] = "licence", licence or "none is known"
        elif len(text) < settings.min_characters:
            verdicts[place] = "too-short", f"{len(text)} characters"
        elif language not in settings.languages:
            verdicts[place] = "language", language
    return verdicts


def _bands(numbers: Any, offsets: Any) -> pa.Array:
    keys, has = band_keys(numbers, offsets)
    ends = np.concatenate(([0], np.cumsum(has) * keys.shape[1])).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(keys.ravel()))


def detect_language(text: str, wanted: Collection[str]) -> str:
    """The language of a text by py3langid, ISO 639-1, where nobody declared it.

    Not the likeliest of all where a wanted one is nearly as likely: short texts in plain English come out as Nigerian Pidgin by a hair.
    """
    import py3langid

    ranks = py3langid.rank(text[:DETECTED_FROM])
    best, score = ranks[0]
    return str(next((language for language, other in ranks if language in wanted and score - other < NEARLY), best))
