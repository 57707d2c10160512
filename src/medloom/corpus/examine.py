"""What can be told of a document by itself: whether it passes the filters, and the keys by which duplicates of it are found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medloom.ledger.files import atomic
from medloom.recipe import Corpus

from .decontaminate import Guard, read_guard
from .deduplicate import BANDS, band_keys, text_key
from .document import rows
from .ngrams import Numbers, word_numbers, words

INDEX = pa.schema(
    [("id", pa.string()), ("source", pa.int32()), ("shard", pa.int32()), ("row", pa.int64()),
     ("pmid", pa.string()), ("pmcid", pa.string()), ("doi", pa.string()), ("language", pa.string()),
     ("reason", pa.string()), ("detail", pa.string()), ("text_key", pa.binary(16)), ("bands", pa.list_(pa.uint64(), BANDS))]
)
DETECTED_FROM = 2000  # characters of a text by which its language is told
NEARLY = 3.0  # natural log of the odds, so 20 to 1
BATCH = 2048


@dataclass(frozen=True, slots=True)
class Examination:
    """One shard to examine: `number` of it and of its source in the recipe, the rules, and where the index of it goes."""

    shard: Path
    number: int
    source: int
    settings: Corpus
    benchmarks: tuple[Path, ...]
    index: Path


@lru_cache(maxsize=1)
def _guard(benchmarks: tuple[Path, ...], threshold: float) -> Guard:
    return read_guard(benchmarks, threshold)


def examine(task: Examination) -> None:
    """Write the index of a shard: a row of schema INDEX per document, in its order."""
    threshold = task.settings.decontaminate
    guard = _guard(task.benchmarks, threshold) if task.benchmarks and threshold is not None else None
    with atomic(task.index) as temporary, pq.ParquetWriter(temporary, INDEX, compression="zstd") as file:
        batch: list[dict[str, Any]] = []
        for number, row in enumerate(rows(task.shard)):
            batch.append(_entry(task, guard, number, row))
            if len(batch) == BATCH:
                file.write_table(_table(batch, task.settings))
                batch = []
        if batch:
            file.write_table(_table(batch, task.settings))


def _entry(task: Examination, guard: Guard | None, number: int, row: dict[str, Any]) -> dict[str, Any]:
    text = row["text"]
    language = row["language"] or detect_language(text, task.settings.languages)
    tokens = words(text)
    numbers = word_numbers(tokens)
    verdict = _verdict({**row, "language": language}, numbers, task.settings, guard)
    reason, detail = verdict or (None, None)
    return {"id": row["id"], "source": task.source, "shard": task.number, "row": number, "pmid": row["pmid"], "pmcid": row["pmcid"],
            "doi": row["doi"], "language": language, "reason": reason, "detail": detail, "text_key": text_key(tokens),
            "numbers": None if verdict else numbers}


def _verdict(row: dict[str, Any], numbers: Numbers, settings: Corpus, guard: Guard | None) -> tuple[str, str | None] | None:
    """Why a document is dropped, or None. The first rule that it breaks is named."""
    if settings.licences is not None and (row["licence"] or "").lower() not in {name.lower() for name in settings.licences}:
        return "licence", row["licence"] or "none is known"
    if len(row["text"]) < settings.min_characters:
        return "too-short", f"{len(row['text'])} characters"
    if row["language"] not in settings.languages:
        return "language", row["language"]
    return guard.find(numbers, row["pmid"]) if guard is not None else None


def _table(batch: list[dict[str, Any]], settings: Corpus) -> pa.Table:
    """A batch of entries with the bands of those that are still in; bands of zeros for the others."""
    alive = [place for place, entry in enumerate(batch) if entry["reason"] is None]
    bands = np.zeros((len(batch), BANDS), np.uint64)
    if alive and settings.near_duplicates:
        bands[alive] = band_keys([batch[place]["numbers"] for place in alive])
    columns = [pa.array([entry[name] for entry in batch], INDEX.field(name).type) for name in INDEX.names[:-1]]
    return pa.Table.from_arrays([*columns, pa.FixedSizeListArray.from_arrays(pa.array(bands.ravel()), BANDS)], schema=INDEX)


def detect_language(text: str, wanted: Collection[str]) -> str:
    """The language of a text by py3langid, ISO 639-1, where nobody declared it.

    Not the likeliest of all where a wanted one is nearly as likely: short texts in plain English come out as Nigerian Pidgin by a hair.
    """
    import py3langid

    ranks = py3langid.rank(text[:DETECTED_FROM])
    best, score = ranks[0]
    return str(next((language for language, other in ranks if language in wanted and score - other < NEARLY), best))
