"""Decontamination: documents that hold a benchmark's question or context, and documents whose PMID is a benchmark's own.

What is measured is the share of a passage's n-grams that stand in the document (13 words; 8 for passages below 26), never whether
a single one does: "which of the following is the most likely" is everybody's.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medloom.ledger import Refusal

from .ngrams import Numbers, ngrams, word_numbers, words

LONG, SHORT = 13, 8


@dataclass(slots=True)
class Guard:
    """The n-grams of the passages of benchmarks, by length; `passages` names each, `sizes` counts its n-grams."""

    threshold: float
    passages: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    grams: dict[int, Numbers] = field(default_factory=dict)
    owners: dict[int, dict[int, tuple[int, ...]]] = field(default_factory=dict)
    pmids: dict[str, str] = field(default_factory=dict)

    def find(self, numbers: Numbers, pmid: str | None) -> tuple[str, str] | None:
        """(reason, detail) where a document, given as its word numbers, is contaminated: the worst passage, the first of equals."""
        if pmid is not None and pmid in self.pmids:
            return "benchmark-pmid", self.pmids[pmid]
        hits: Counter[int] = Counter()
        for n, known in self.grams.items():
            mine = ngrams(numbers, n)
            if len(mine) and len(known):
                place = np.minimum(np.searchsorted(known, mine), len(known) - 1)
                for gram in np.unique(mine[known[place] == mine]).tolist():
                    hits.update(self.owners[n][gram])
        best = max(((count / self.sizes[passage], -passage) for passage, count in hits.items()), default=(0.0, 0))
        if best[0] >= self.threshold and hits:
            return "benchmark-overlap", f"{self.passages[-best[1]]} {best[0]:.2f}"
        return None


def read_guard(files: Sequence[Path], threshold: float) -> Guard:
    """The guard of benchmark question files (JSON lines: id, question, options, context, pmid, answer).

    Raises Refusal for a line that is none. A passage below 8 words is too common to guard by.
    """
    guard = Guard(threshold)
    owners: dict[int, dict[int, list[int]]] = {LONG: {}, SHORT: {}}
    for file in sorted(files):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                item = json.loads(line)
                name, passages, pmid = f"{file.stem}:{item['id']}", (item["question"], item.get("context")), item.get("pmid")
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise Refusal(f"{file}: line {number} is no benchmark question ({error}); write the questions again") from None
            if pmid:
                guard.pmids.setdefault(str(pmid), name)
            for passage in passages:
                numbers = word_numbers(words(passage or ""))
                n = LONG if len(numbers) >= 2 * LONG else SHORT
                grams = np.unique(ngrams(numbers, n)).tolist()
                if not grams:
                    continue
                for gram in grams:
                    owners[n].setdefault(gram, []).append(len(guard.passages))
                guard.passages.append(name)
                guard.sizes.append(len(grams))
    for n, known in owners.items():
        guard.grams[n] = np.array(sorted(known), np.uint64)
        guard.owners[n] = {gram: tuple(owner) for gram, owner in known.items()}
    return guard
