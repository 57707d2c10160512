"""From documents to the corpus: filters, joins and duplicates over all sources, the split, and the account of it all."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal
from medloom.recipe import Corpus, Source

from .deduplicate import near_duplicates
from .document import DROPPED, ShardWriter, rows
from .engine import run_shards
from .examine import Examination, examine
from .identifiers import doubles_by_identifier
from .report import SourceAccount, write_report
from .split import held_out

Strings = NDArray[np.object_]


def build_corpus(sources: Mapping[str, Path], recipe: Sequence[Source], settings: Corpus, benchmarks: Sequence[Path], seed: int, out: Path,
                 progress: Progress) -> dict[str, Any]:
    """Choose among the documents that `read_source` left in a folder per source, and split them.

    `sources` maps a source's name to its folder; `recipe` gives their order, which is the priority between duplicates; `benchmarks`
    are question files (JSON lines) to decontaminate against where `settings.decontaminate` is set. Writes `out/train.parquet`,
    `out/valid-<domain>.parquet` for each domain that has two documents or more, `out/dropped.parquet` (what was left out here, with
    reason and detail), `out/report.json` and `out/report.md`. Rules, in this order, of which the first that a document breaks is named:
    licence, too-short, language, benchmark-pmid, benchmark-overlap; then over all: same-identifier, exact-duplicate,
    near-duplicate. Raises Refusal where a folder is no read source or nothing is left.
    """
    shards = [(number, path) for number, source in enumerate(recipe) for path in _shards(sources[source.name])]
    work = out / ".index"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    guarded = tuple(sorted(benchmarks)) if settings.decontaminate is not None else ()
    tasks = [Examination(path, place, number, settings, guarded, work / f"{place:06d}.parquet")
             for place, (number, path) in enumerate(shards)]
    size = 4 * sum(path.stat().st_size for _, path in shards)  # Parquet holds text at about a quarter of its size
    run_shards(examine, tasks, workers=settings.workers, size=size, progress=progress, name="examine documents")
    index = pa.concat_tables([pq.read_table(task.index) for task in tasks])
    index = index.sort_by([("source", "ascending"), ("id", "ascending"), ("shard", "ascending"), ("row", "ascending")])
    shutil.rmtree(work)

    reasons, details = _choose(index, recipe, settings, progress)
    alive = _unmarked(reasons)
    if not alive.any():
        common = Counter(reasons.tolist()).most_common(1)
        raise Refusal("corpus: no document is left"
                      + (f"; most fell to {common[0][0]!r}: widen that rule in [corpus]" if common else ": the sources hold none"))
    ids = index["id"].to_numpy()
    of_source = index["source"].to_numpy()
    valid = np.zeros(len(ids), bool)
    domains = sorted({source.domain for source in recipe})
    for domain in domains:
        places = np.flatnonzero(alive & np.isin(of_source, [n for n, source in enumerate(recipe) if source.domain == domain]))
        valid[places[held_out(ids[places].tolist(), seed, settings.validation, settings.validation_documents)]] = True

    accounts = [SourceAccount.of_manifest(source, _manifest(sources[source.name])) for source in recipe]
    fates = np.where(~alive, "", np.where(valid, "valid", "train"))
    _write(index, fates, reasons, details, [path for _, path in shards], recipe, accounts, out, progress)
    return write_report(out, accounts, settings, seed, {path.stem: _lines(path) for path in guarded})


def _choose(index: pa.Table, recipe: Sequence[Source], settings: Corpus, progress: Progress) -> tuple[Strings, Strings]:
    """Reason and detail of every document of the index (rows in order of rank) that is left out; None for those that stay."""
    reasons, details = (index[name].to_numpy(zero_copy_only=False).astype(object) for name in ("reason", "detail"))
    ids = index["id"].to_numpy()

    def drop(places: NDArray[np.int64], kept: NDArray[np.int64], reason: str) -> None:
        reasons[places] = reason
        details[places] = ids[kept]

    with progress.task("find duplicates", total=3, unit="rules") as task:
        alive = np.flatnonzero(_unmarked(reasons))
        places, kept = doubles_by_identifier(index.take(alive), [source.format for source in recipe])
        drop(alive[places], alive[kept], "same-identifier")
        task.advance()

        alive = np.flatnonzero(_unmarked(reasons))
        keys = pc.dictionary_encode(index["text_key"].take(alive)).combine_chunks().indices.to_numpy()
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        kept = first[inverse]
        places = np.flatnonzero(kept != np.arange(len(alive)))
        drop(alive[places], alive[kept[places]], "exact-duplicate")
        task.advance()

        alive = np.flatnonzero(_unmarked(reasons))
        if settings.near_duplicates and len(alive):
            bands = index["bands"].take(alive).combine_chunks()
            kept = near_duplicates(bands.flatten().to_numpy().reshape(len(alive), -1))
            places = np.flatnonzero(kept != np.arange(len(alive)))
            drop(alive[places], alive[kept[places]], "near-duplicate")
        task.advance()
    return reasons, details


def _write(index: pa.Table, fates: NDArray[np.str_], reasons: Strings, details: Strings, shards: Sequence[Path], recipe: Sequence[Source],
           accounts: Sequence[SourceAccount], out: Path, progress: Progress) -> None:
    """Send every document of the shards, in their order, to its file, and count it."""
    order = np.lexsort((index["row"].to_numpy(), index["shard"].to_numpy()))
    languages = index["language"].to_numpy(zero_copy_only=False)
    place = iter(order.tolist())
    sources = index["source"].to_numpy()
    with ExitStack() as stack, progress.task("write corpus", total=len(order), unit="documents") as task:
        train = stack.enter_context(ShardWriter(out / "train.parquet"))
        dropped = stack.enter_context(ShardWriter(out / "dropped.parquet", DROPPED))
        domains = {recipe[number].domain for number, fate in zip(sources.tolist(), fates.tolist(), strict=True) if fate == "valid"}
        valid = {domain: stack.enter_context(ShardWriter(out / f"valid-{domain}.parquet")) for domain in sorted(domains)}
        for path in shards:
            for row in rows(path):
                number = next(place)
                account = accounts[sources[number]]
                if fates[number]:
                    row["language"] = languages[number]  # the detected one where none was declared
                    (train if fates[number] == "train" else valid[str(row["domain"])]).add(row)
                    account.keep(row, str(fates[number]))
                else:
                    account.drop(str(reasons[number]), details[number])
                    dropped.add({"id": row["id"], "source": row["source"], "source_file": row["source_file"],
                                 "reason": str(reasons[number]), "detail": details[number]})
                task.advance()


def _unmarked(reasons: Strings) -> NDArray[np.bool_]:
    return np.array([reason is None for reason in reasons.tolist()], bool)


def _shards(folder: Path) -> list[Path]:
    _manifest(folder)
    return sorted(folder.glob("part-*.parquet"))


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    if not path.is_file():
        raise Refusal(f"{folder}: no manifest.json here, so this is no source that was read; read the sources again")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _lines(path: Path) -> int:
    return sum(1 for line in path.read_bytes().splitlines() if line.strip())
