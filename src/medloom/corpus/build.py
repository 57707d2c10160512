"""From documents to the corpus: filters, joins and duplicates over all sources, the split, and the account of it all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.ledger import Progress, Refusal
from medloom.ledger.files import read_json, sha256_file
from medloom.recipe import Corpus, Source

from .choose import choose
from .divide import Division, divide
from .engine import run_shards
from .examine import Examination, examine, guard_of
from .report import write_report
from .report.account import Account


def build_corpus(sources: Mapping[str, Path], recipe: Sequence[Source], settings: Corpus, benchmarks: Sequence[Path], seed: int, out: Path,
                 progress: Progress, state: Path) -> dict[str, Any]:
    """Choose among the documents that `read_source` left in a folder per source, and split them.

    `sources` maps a source's name to its folder; `recipe` gives their order, which is the priority between duplicates; `benchmarks`
    are question files (JSON lines) to decontaminate against where `settings.decontaminate` is set. Writes Parquet shards
    `out/train/part-00000.parquet` and on, `out/valid/<domain>/part-*.parquet`, `out/dropped/part-*.parquet` (what was left out here, with
    reason and detail), and the account as `out/report.json`, `report.md` and `report.html`. Rules, in this order, of which the first
    that a document breaks is named: licence, too-short, language, repetition, benchmark-pmid, benchmark-overlap; then over all:
    same-identifier, exact-duplicate, near-duplicate. Finished shards wait in `state`; a second call goes on from there.
    Raises Refusal where a folder is no read source or nothing is left.
    """
    manifests = {name: _manifest(folder) for name, folder in sources.items()}
    shards = [(number, path) for number, source in enumerate(recipe) for path in sorted(sources[source.name].glob("part-*.parquet"))]
    guarded = tuple(sorted(benchmarks)) if settings.decontaminate is not None else ()
    examinations = [Examination(path, place, number, settings, guarded, seed, state / f"index-{place:05d}.parquet")
                    for place, (number, path) in enumerate(shards)]
    size = 4 * sum(path.stat().st_size for _, path in shards)  # Parquet holds text at about a quarter of its size
    run_shards(examine, examinations, settings, size=size, progress=progress, name="examine documents", stage="choose")

    fates = state / "fates.parquet"
    choose([task.index for task in examinations], recipe, settings, fates, state / "database", progress)
    digest = sha256_file(fates)
    names = tuple(source.name for source in recipe)
    divisions = [Division(path, place, recipe[number].domain, fates, digest, names, out, state / f"division-{place:05d}.json")
                 for place, (number, path) in enumerate(shards)]
    records = run_shards(divide, divisions, settings, size=size, progress=progress, name="write corpus", stage="choose")
    accounts = [Account.sum(record["account"] for record, (of, _) in zip(records, shards, strict=True) if of == number)
                for number in range(len(recipe))]
    if not any(account.documents for account in accounts):
        common = sum((account.dropped for account in accounts), Counter[str]()).most_common(1)
        raise Refusal("corpus: no document is left"
                      + (f"; most fell to {common[0][0]!r}: widen that rule in [corpus]" if common else ": the sources hold none"))
    _remove_empty_folders(out)
    guard = guard_of(guarded, settings.decontaminate) if settings.decontaminate is not None else None
    return write_report(out, recipe, [manifests[source.name] for source in recipe], accounts, settings, seed, guard)


def _manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / "manifest.json")
    if not manifest:
        raise Refusal(f"{folder}: no manifest.json here, so this is no source that was read; read the sources again")
    return manifest


def _remove_empty_folders(out: Path) -> None:
    for folder, inner, files in os.walk(out, topdown=False):
        if not inner and not files and Path(folder) != out:
            Path(folder).rmdir()
