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
from numpy.typing import NDArray

from medloom.ledger import Refusal
from medloom.passport.ngrams import Numbers, Offsets, ngrams, word_numbers

LONG, SHORT = 13, 8
SIEVE = 1 << 22  # entries of a table that lets most n-grams go by at the cost of one look


@dataclass(frozen=True, slots=True)
class Grams:
    """The known n-grams of one length: sorted numbers, the passages of each, and the sieve before them."""

    numbers: Numbers
    owners: dict[int, tuple[int, ...]]
    sieve: NDArray[np.bool_]

    def among(self, grams: Numbers) -> NDArray[np.int64]:
        """The places of the known ones among some n-grams."""
        places = np.flatnonzero(self.sieve[(grams & np.uint64(SIEVE - 1)).astype(np.int64)])
        found = np.minimum(np.searchsorted(self.numbers, grams[places]), len(self.numbers) - 1)
        return np.asarray(places[self.numbers[found] == grams[places]])


@dataclass(slots=True)
class Guard:
    """The n-grams of the passages of benchmarks, by length; `passages` names each, `sizes` counts its n-grams.

    `questions` and `guarded` count the questions of each benchmark, and those with a passage of 8 words or more.
    """

    threshold: float
    passages: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    grams: dict[int, Grams] = field(default_factory=dict)
    pmids: dict[str, str] = field(default_factory=dict)
    questions: Counter[str] = field(default_factory=Counter)
    guarded: Counter[str] = field(default_factory=Counter)

    def find(self, numbers: Numbers, offsets: Offsets, pmids: Sequence[str | None]) -> dict[int, tuple[str, str]]:
        """(reason, detail) of each contaminated document, given as word numbers: the worst passage, the first of equals."""
        found: dict[int, tuple[str, str]] = {}
        hits: dict[int, Counter[int]] = {}
        for n, known in self.grams.items():
            if len(known.numbers):
                mine, ends = ngrams(numbers, offsets, n)
                places = known.among(mine)
                documents = np.searchsorted(ends, places, side="right") - 1
                for document, gram in set(zip(documents.tolist(), mine[places].tolist(), strict=True)):
                    hits.setdefault(document, Counter()).update(known.owners[gram])
        for document, passages in hits.items():
            share, passage = max((count / self.sizes[passage], -passage) for passage, count in passages.items())
            if share >= self.threshold:
                found[document] = "benchmark-overlap", f"{self.passages[-passage]} {share:.2f}"
        for document, pmid in enumerate(pmids):
            if pmid is not None and pmid in self.pmids:
                found[document] = "benchmark-pmid", self.pmids[pmid]
        return found


def read_guard(files: Sequence[Path], threshold: float) -> Guard:
    """The guard of benchmark question files (JSON lines: id, question, options, context, pmid, answer).

    Raises Refusal for a line that is none. A passage below 8 words is too common to guard by.
    """
    guard = Guard(threshold)
    names: list[str] = []
    texts: list[str] = []
    for file in sorted(files):
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                item = json.loads(line)
                name, passages, pmid = f"{file.stem}:{item['id']}", (item["question"], item.get("context")), item.get("pmid")
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise Refusal(f"{file}: line {number} is no benchmark question ({error}); write the questions again") from None
            if pmid:
                guard.pmids.setdefault(str(pmid), name)
            guard.questions[file.stem] += 1
            names += [name, name]
            texts += [passage or "" for passage in passages]
    numbers, offsets = word_numbers(texts)
    lengths = np.diff(offsets)
    owners: dict[int, dict[int, list[int]]] = {LONG: {}, SHORT: {}}
    whole = {n: ngrams(numbers, offsets, n) for n in owners}
    guarded = set()
    for place, name in enumerate(names):
        n = LONG if lengths[place] >= 2 * LONG else SHORT
        grams, ends = whole[n]
        mine = np.unique(grams[ends[place] : ends[place + 1]]).tolist()
        if mine:
            for gram in mine:
                owners[n].setdefault(gram, []).append(len(guard.passages))
            guard.passages.append(name)
            guard.sizes.append(len(mine))
            guarded.add(name)
    guard.guarded.update(name.partition(":")[0] for name in guarded)
    for n, known in owners.items():
        sieve = np.zeros(SIEVE, bool)
        values = np.array(sorted(known), np.uint64)
        sieve[(values & np.uint64(SIEVE - 1)).astype(np.int64)] = True
        guard.grams[n] = Grams(values, {gram: tuple(owner) for gram, owner in known.items()}, sieve)
    return guard
