"""Questions about a corpus that was built: its report, and which document a token is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from medloom.ledger import Refusal
from medloom.ledger.files import read_json

from .document import tables
from .report import write_pages

TOLD = ("id", "piece", "source", "domain", "licence", "sha256")


def draw_report(run: Path) -> tuple[dict[str, Any], tuple[Path, Path]]:
    """The report of the corpus of a run, with the mixture where there is one; written as a page and as Markdown into the run's folder.

    Raises Refusal where the run has no corpus.
    """
    report = read_json(_step(run, "corpus") / "report.json")
    mixture = read_json(run / "latest" / "tokens" / "mixture.json")
    if mixture:
        report["mixture"] = mixture
    places = run / "corpus-report.html", run / "corpus-report.md"
    write_pages(report, *places)
    return report, places


def document_of_token(run: Path, number: int, trained: bool) -> dict[str, Any]:
    """Which document token `number` (from 0) of a run's token store is from, or, where `trained`, the token that training reads so late.

    `token` is its number in the store and `within` in its document's piece. Raises Refusal where there is no such token or no store.
    """
    folder = _step(run, "tokens")
    if trained:
        number, asked = _in_store(folder, number), number
    start = 0
    for table in tables(folder / "documents.parquet", [*TOLD, "start", "length"]):
        here = pc.and_(pc.less_equal(table["start"], number), pc.greater(pc.add(table["start"], table["length"]), number))
        row = pc.index(here, pa.scalar(True)).as_py()
        if row >= 0:
            found = table.slice(row, 1).to_pylist()[0]
            told = {"token": number, "within": number - found["start"], "row": start + row, **{name: found[name] for name in TOLD}}
            return {"trained": asked, **told} if trained else told
        start += len(table)
    raise Refusal(f"{run}: its token store ends before token {number:,}")


def _in_store(folder: Path, number: int) -> int:
    """The place in the store of the token that training reads at place `number`."""
    order = np.load(folder / "order.npy", mmap_mode="r")
    columns = pq.read_table(folder / "documents.parquet", columns=["start", "length"])
    starts, lengths = columns["start"].to_numpy(), columns["length"].to_numpy()
    ends = np.cumsum(lengths[order])
    if number >= ends[-1]:
        raise Refusal(f"{folder}: training reads {int(ends[-1]):,} tokens, so there is no token {number:,}")
    place = int(np.searchsorted(ends, number, side="right"))
    document = int(order[place])
    return int(starts[document] + number - (ends[place] - lengths[document]))


def _step(run: Path, name: str) -> Path:
    folder = run / "latest" / name
    if not folder.is_dir():
        raise Refusal(f"{run}: no run with a {name} step here; make one with: medloom corpus RECIPE --out {run}")
    return folder
