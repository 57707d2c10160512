"""The books of a source: what came in, what stayed, and why the rest went. Kept per shard and added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPLITS = ("train", "valid")


@dataclass(slots=True)
class Account:
    """Counts over documents, each by a name: `dropped` by reason, `documents` and `characters` by split, `licences`, `languages`, `years`
    (by decade) and `lengths` (by the power of two below the number of characters) of what stays; `by_pmid`, `by_overlap` of what
    went for a benchmark's sake, by benchmark; `touched` the questions that it held; `kept_for` where a double of it stays, by source.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    years: Counter[str] = field(default_factory=Counter)
    lengths: Counter[str] = field(default_factory=Counter)
    by_pmid: Counter[str] = field(default_factory=Counter)
    by_overlap: Counter[str] = field(default_factory=Counter)
    touched: Counter[str] = field(default_factory=Counter)
    kept_for: Counter[str] = field(default_factory=Counter)

    def keep(self, documents: pa.Table, split: str) -> None:
        """Count documents (schema `document.SCHEMA`) that stay, in `split` train or valid."""
        sizes = pc.utf8_length(documents["text"]).to_numpy()
        self.documents[split] += len(documents)
        self.characters[split] += int(sizes.sum())
        _count(self.licences, pc.fill_null(documents["licence"], "unknown"))
        _count(self.languages, pc.fill_null(documents["language"], "unknown"))
        decades = pc.multiply(pc.divide(documents["year"], 10), 10)
        _count(self.years, pc.fill_null(pc.cast(decades, pa.string()), "unknown"))
        _count(self.lengths, pa.array(1 << np.log2(np.maximum(sizes, 1)).astype(np.int64)))

    def drop(self, fates: pa.Table, sources: list[str]) -> None:
        """Count documents that go, by their rows of schema `choose.FATES`; `sources` are the names that `kept_source` counts by."""
        for reason, detail, kept in zip(*(fates[name].to_pylist() for name in ("reason", "detail", "kept_source")), strict=True):
            self.dropped[reason] += 1
            if kept is not None:
                self.kept_for[sources[kept]] += 1
            if reason.startswith("benchmark-"):
                benchmark = detail.partition(":")[0]
                (self.by_pmid if reason == "benchmark-pmid" else self.by_overlap)[benchmark] += 1
                self.touched[detail.rpartition(" ")[0] if reason == "benchmark-overlap" else detail] += 1

    def table(self) -> dict[str, dict[str, int]]:
        """The counts as JSON."""
        return {part.name: dict(sorted(getattr(self, part.name).items())) for part in fields(self)}

    @classmethod
    def sum(cls, tables: Iterable[Mapping[str, Mapping[str, int]]]) -> Account:
        """Accounts, as tables, added up."""
        total = cls()
        for table in tables:
            for name, counts in table.items():
                getattr(total, name).update(counts)
        return total


def _count(counter: Counter[str], values: pa.Array | pa.ChunkedArray) -> None:
    for entry in pc.value_counts(values).to_pylist():
        counter[str(entry["values"])] += entry["counts"]
