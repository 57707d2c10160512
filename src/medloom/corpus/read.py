"""From files to documents: one group of input files in, one Parquet shard with its manifest out."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medloom.ledger import Progress
from medloom.ledger.files import atomic, sha256_file, sha256_json, write_json
from medloom.recipe import Corpus, Rules, Source

from .document import DROPPED, Document, Drop, Origin, ShardWriter, rows, write_drops
from .engine import run_shards
from .files import find_files, whole
from .generic import read_json_lines, read_parquet
from .guidelines import read_guideline, read_text
from .jats import read_jats
from .medline import Deletion, Versioned, read_medline
from .rules import apply_rules, resolve_rules

VERSION = 2  # of what the readers make of a file; a half-done read by another version is not gone on from
MEGABYTE = 1_000_000
SMALLEST_GROUP = MEGABYTE
WHOLE_FILE = {"jats": read_jats, "guidelines": read_guideline, "text": read_text}
Item = Document | Versioned | Deletion | Drop
RECORDS = {"jsonl": read_json_lines, "parquet": read_parquet}


@dataclass(frozen=True, slots=True)
class Shard:
    """A group of input files and where their documents go."""

    base: Path
    names: tuple[str, ...]
    source: Source
    out: Path

    @property
    def manifest(self) -> Path:
        return self.out.with_suffix(".json")

    @property
    def drops(self) -> Path:
        return self.out.with_suffix(".dropped.parquet")

    @property
    def digest(self) -> str:
        sizes = [[name, (self.base / name).stat().st_size] for name in self.names]
        return sha256_json({"version": VERSION, "files": sizes, "source": self.source.model_dump(mode="json", exclude={"path", "share"})})


def read_source(source: Source, root: Path, settings: Corpus, out: Path, progress: Progress, state: Path) -> dict[str, Any]:
    """Read every file that `root` means into documents.

    `root` is the source's path made absolute: a file, a folder or a glob. Writes `out/part-00000.parquet` and on (schema
    `document.SCHEMA`), `out/dropped.parquet` (schema `document.DROPPED`: every record that became no document, with its reason) and
    `out/manifest.json` (per input file: path, SHA-256, bytes, documents, drops by reason). The bytes depend on the input alone. Finished
    shards wait in `state`; a second call goes on from there. Raises Refusal where there is no file to read.
    """
    base, names, other = find_files(root, source.format)
    shards = [Shard(base, group, source, state / f"part-{number:05d}.parquet") for number, group in enumerate(_groups(base, names))]
    size = sum((base / name).stat().st_size for name in names)
    started = time.perf_counter()
    manifests = run_shards(read_shard, shards, workers=settings.workers, size=size, progress=progress, name=f"read {source.name}")
    seconds = time.perf_counter() - started
    void = _superseded(shards, manifests) if source.format == "medline" else [{} for _ in shards]

    out.mkdir(parents=True, exist_ok=True)
    files = [entry for manifest in manifests for entry in manifest["files"]]
    by_name = {entry["path"]: entry for entry in files}
    with ShardWriter(out / "dropped.parquet", DROPPED) as writer:
        for shard, dropped in zip(shards, void, strict=True):
            place = out / shard.out.name
            for drop in _without(shard.out, place, dropped):
                entry = by_name[drop.source_file]
                entry["documents"] -= 1
                entry["dropped"][drop.reason] = entry["dropped"].get(drop.reason, 0) + 1
                writer.add(_drop_row(drop, source.name))
            for row in rows(shard.drops):
                writer.add(row)
        for name in other:
            files.append({"path": name, "sha256": sha256_file(base / name), "bytes": (base / name).stat().st_size, "documents": 0,
                          "dropped": {"unsupported-suffix": 1}})
            writer.add(_drop_row(Drop(f"{source.name}:{name}", name, "unsupported-suffix"), source.name))
    for entry in files:
        entry["dropped"] = dict(sorted(entry["dropped"].items()))
    files.sort(key=lambda entry: str(entry["path"]))
    write_json(out / "manifest.json", {"source": source.name, "format": source.format, "files": files})

    reasons = sum((Counter(entry["dropped"]) for entry in files), Counter[str]())
    cpu = sum(manifest["cpu_seconds"] for manifest in manifests)
    return {"files": len(files), "bytes": size,
            "documents": sum(entry["documents"] for entry in files), "dropped": dict(sorted(reasons.items())),
            "wall_seconds": seconds, "cpu_seconds": cpu, "megabytes_per_cpu_second": size / MEGABYTE / cpu if cpu else None}


def _groups(base: Path, names: list[str]) -> Iterator[tuple[str, ...]]:
    """Consecutive files, some 64 groups of them, of 1 to 64 MB each; a greater file is its own group. The input alone decides."""
    sizes = [(base / name).stat().st_size for name in names]
    limit = min(max(sum(sizes) // 64, SMALLEST_GROUP), 64 * MEGABYTE)
    group: list[str] = []
    held = 0
    for name, size in zip(names, sizes, strict=True):
        if group and held + size > limit:
            yield tuple(group)
            group, held = [], 0
        group.append(name)
        held += size
    yield tuple(group)


def read_shard(shard: Shard) -> dict[str, Any]:
    """Read a group of files into `shard.out`, its drops beside it, and return its manifest, which is written last."""
    if shard.manifest.exists():
        manifest: dict[str, Any] = json.loads(shard.manifest.read_text(encoding="utf-8"))
        if manifest["digest"] == shard.digest:
            return manifest
    started = time.process_time()
    files: list[dict[str, Any]] = []
    drops: list[Drop] = []
    versions: dict[str, int] = {}
    deletions: dict[str, int] = {}
    with ShardWriter(shard.out) as writer:
        for name in shard.names:
            before, first = writer.rows, len(drops)
            for item in _ruled(_read(shard, name), resolve_rules(shard.source)):
                if isinstance(item, Drop):
                    drops.append(item)
                elif isinstance(item, Deletion):
                    deletions.update(dict.fromkeys(item.pmids, writer.rows))
                else:
                    if isinstance(item, Versioned):
                        if item.version != 1:
                            versions[str(writer.rows)] = item.version
                        item = item.document
                    writer.add(item.row())
            reasons = Counter(drop.reason for drop in drops[first:])
            files.append({"path": name, "sha256": sha256_file(shard.base / name), "bytes": (shard.base / name).stat().st_size,
                          "documents": writer.rows - before, "dropped": dict(sorted(reasons.items()))})
    write_drops(shard.drops, shard.source.name, drops)
    manifest = {"digest": shard.digest, "files": files, "versions": versions, "deletions": deletions,
                "cpu_seconds": time.process_time() - started}
    write_json(shard.manifest, manifest)
    return manifest


def _read(shard: Shard, name: str) -> Iterator[Item]:
    """What one file holds; damage to the file itself comes last, as a Drop of its own."""
    source, path = shard.source, shard.base / name
    faults: list[tuple[str, str]] = []
    origin = Origin(source.name, source.domain, name, source.licence)
    if path.stat().st_size == 0:
        faults.append(("empty-file", "no bytes"))
    elif source.format == "medline":
        yield from read_medline(path, origin, faults)
    elif source.format in RECORDS:
        yield from RECORDS[source.format](path, origin, faults)
    else:
        data = whole(path, faults)
        if not faults:
            yield WHOLE_FILE[source.format](data, origin)
    for reason, detail in faults:
        yield origin.drop(reason, detail)


def _ruled(items: Iterator[Item], rules: Rules | None) -> Iterator[Item]:
    """What was read, after the rules of its source."""
    if rules is None:
        yield from items
        return
    for item in items:
        if isinstance(item, Document):
            yield apply_rules(item, rules)
        elif isinstance(item, Versioned):
            left = apply_rules(item.document, rules)
            yield left if isinstance(left, Drop) else replace(item, document=left)
        else:
            yield item


def _superseded(shards: list[Shard], manifests: list[dict[str, Any]]) -> list[dict[int, str]]:
    """Per shard, the rows that a newer record or a DeleteCitation makes void, with the reason.

    Of a PMID the highest version counts, of equal versions the later file (MEDLINE's files are numbered in the order of their
    release), of one file the later record. A deletion voids what stands before it.
    """
    numbers, versions, places, places_of_shard = [], [], [], []
    deleted: dict[int, int] = {}
    start = 0
    for shard, manifest in zip(shards, manifests, strict=True):
        column = pq.read_table(shard.out, columns=["pmid"])["pmid"]
        numbers.append(column.cast(pa.int64()).to_numpy())
        version = np.ones(len(column), np.int32)
        for row, value in manifest["versions"].items():
            version[int(row)] = value
        versions.append(version)
        deleted.update({int(pmid): start + row for pmid, row in manifest["deletions"].items()})
        places.append(np.arange(start, start + len(column)))
        places_of_shard.append(start)
        start += len(column)
    pmid, version, place = np.concatenate(numbers), np.concatenate(versions), np.concatenate(places)
    reasons: dict[int, str] = {}
    if deleted:
        for position in np.flatnonzero(np.isin(pmid, np.fromiter(deleted, np.int64))).tolist():
            if position < deleted[int(pmid[position])]:
                reasons[position] = "deleted-citation"
    alive = np.ones(len(pmid), bool)
    alive[list(reasons)] = False
    order = np.flatnonzero(alive)
    order = order[np.lexsort((place[order], version[order], pmid[order]))]
    older = order[:-1][pmid[order][:-1] == pmid[order][1:]]
    reasons.update(dict.fromkeys(older.tolist(), "older-version"))
    result: list[dict[int, str]] = [{} for _ in shards]
    for position, reason in sorted(reasons.items()):
        shard_number = int(np.searchsorted(places_of_shard, position, side="right")) - 1
        # Shards without a row share their start with the next one: searchsorted already names the last of them.
        result[shard_number][position - places_of_shard[shard_number]] = reason
    return result


def _without(source: Path, place: Path, void: dict[int, str]) -> list[Drop]:
    """Bring a shard to its place, less its void rows, which are returned as drops. The shard at `source` stays for a resumed call."""
    place.unlink(missing_ok=True)
    if not void:
        try:
            os.link(source, place)
        except OSError:  # a file system without hard links
            with atomic(place) as temporary:
                shutil.copyfile(source, temporary)
        return []
    drops = []
    with ShardWriter(place) as writer:
        for number, row in enumerate(rows(source)):
            if number in void:
                drops.append(Drop(str(row["id"]), str(row["source_file"]), void[number]))
            else:
                writer.add(row)
    return drops


def _drop_row(drop: Drop, source: str) -> dict[str, str | int | None]:
    return {"id": drop.id, "source": source, "source_file": drop.source_file, "reason": drop.reason, "detail": drop.detail}
