"""From files to documents: one group of input files in, one Parquet shard with its record out."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from medloom.ledger import Progress
from medloom.ledger.files import atomic, sha256_file, sha256_json, write_json
from medloom.recipe import Corpus, Rules, Source

from .database import blocks, database, scan
from .document import DROPPED, SCHEMA, Document, Drop, Origin, ShardWriter, drop_row, tables
from .engine import run_shards
from .markup import Markup
from .readers.files import find_files, whole
from .readers.generic import read_json_lines, read_parquet
from .readers.guidelines import read_guideline, read_text
from .readers.jats import read_jats
from .readers.medline import Deletion, Versioned, read_medline
from .readers.rules import apply_rules
from .readers.s2orc import read_s2orc

VERSION = 3  # of what the readers make of a file; a half-done read by another version is not gone on from
MEGABYTE = 1_000_000
SMALLEST_GROUP = MEGABYTE
WHOLE_FILE = {"jats": read_jats, "guidelines": read_guideline, "text": read_text}
Item = Document | Versioned | Deletion | Drop
RECORDS = {"s2orc": read_s2orc, "jsonl": read_json_lines, "parquet": read_parquet}
FILES = pa.schema([("path", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64())])
COUNTED = pa.schema([*FILES, ("documents", pa.int64()), ("dropped", pa.int64())])
VERSIONS = pa.schema([("pmid", pa.int64()), ("version", pa.int32()), ("row", pa.int64())])
DELETED = 0  # stands where a version would: this PMID is taken back here


@dataclass(frozen=True)
class Reading:
    """A group of input files and where their documents go: `out`, with drops, files and versions in shards beside it."""

    base: Path
    names: tuple[str, ...]
    source: Source
    markup: Markup
    out: Path

    @property
    def record(self) -> Path:
        """The record of the shard."""
        return self.out.with_suffix(".json")

    def beside(self, what: str) -> Path:
        """A shard of another kind for the same files."""
        return self.out.with_suffix(f".{what}.parquet")

    @cached_property
    def digest(self) -> str:
        """Names and sizes of the files and all of the source that matters for reading; their contents are the step's to digest."""
        sizes = [[name, _size(self.base / name)] for name in self.names]
        source = self.source.model_dump(mode="json", exclude={"path", "share", "tokens", "repeat", "validation", "holds"})
        return sha256_json({"version": VERSION, "files": sizes, "source": source, "markup": repr(self.markup)})


def read_source(source: Source, root: Path, settings: Corpus, out: Path, progress: Progress, state: Path) -> dict[str, Any]:
    """Read every file that `root` means into documents.

    `root` is the source's path made absolute: a file, a folder or a glob. Writes `out/part-00000.parquet` and on (schema
    `document.SCHEMA`), `out/dropped.parquet` (schema `document.DROPPED`: every record that became no document, with its reason),
    `out/files.parquet` (per input file: path, sha256, bytes, documents, dropped) and `out/manifest.json` (the sums). The bytes depend
    on the input alone. Finished shards wait in `state`; a second call goes on from there. Raises Refusal where there is no file to read.
    """
    base, names, other = find_files(root, source.format)
    markup = Markup(settings.markup == "meditron", settings.references)
    shards = [Reading(base, group, source, markup, state / f"part-{number:05d}.parquet")
              for number, group in enumerate(_groups(base, names))]
    size = sum(_size(base / name) for name in names)
    started = time.perf_counter()
    records = run_shards(read_shard, shards, settings, size=size, progress=progress, name=f"read {source.name}", stage="read")
    seconds = time.perf_counter() - started
    out.mkdir(parents=True, exist_ok=True)
    with database(state / "database", settings) as connection:
        void = _superseded(connection, shards) if source.format == "medline" else {}
        with ShardWriter(out / "dropped.parquet", DROPPED) as dropped:
            for number, shard in enumerate(shards):
                for drop in _settle(shard.out, out / shard.out.name, void.get(number, {})):
                    dropped.add(drop_row(drop, source.name))
                for table in tables(shard.beside("dropped")):
                    dropped.add_table(table)
            for name in other:
                drop = Drop(f"{source.name}:{name}", name, "unsupported-suffix")
                dropped.add(drop_row(drop, source.name))
        reasons = _account(connection, base, other, shards, out)
        documents, files = connection.execute("select sum(documents)::bigint, count(*) from files").fetchone()
    manifest = {"source": source.name, "format": source.format, "files": files, "bytes": size, "documents": documents, "dropped": reasons}
    write_json(out / "manifest.json", manifest)
    cpu = sum(record["cpu_seconds"] for record in records)
    return {**manifest, "wall_seconds": seconds, "cpu_seconds": cpu, "megabytes_per_cpu_second": size / MEGABYTE / cpu if cpu else None}


def _groups(base: Path, names: list[str]) -> Iterator[tuple[str, ...]]:
    """Consecutive files, some 64 groups of them, of 1 to 64 MB each; a greater file is its own group. The input alone decides."""
    sizes = [_size(base / name) for name in names]
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


def _size(path: Path) -> int:
    """Bytes of a file; 0 of one that is gone since it was listed, which the reader will name."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_shard(shard: Reading) -> Mapping[str, Any]:
    """Read a group of files into `shard.out` and the shards beside it."""
    with (ShardWriter(shard.out) as documents, ShardWriter(shard.beside("dropped"), DROPPED) as dropped,
          ShardWriter(shard.beside("files"), FILES) as files, ShardWriter(shard.beside("versions"), VERSIONS) as versions):
        for name in shard.names:
            for item in _ruled(_read(shard, name), shard.source.rules):
                if isinstance(item, Drop):
                    dropped.add(drop_row(item, shard.source.name))
                elif isinstance(item, Deletion):
                    for pmid in item.pmids:
                        versions.add({"pmid": int(pmid), "version": DELETED, "row": documents.rows})
                else:
                    if isinstance(item, Versioned):
                        versions.add({"pmid": int(item.document.pmid or 0), "version": item.version, "row": documents.rows})
                        item = item.document
                    documents.add(item.row())
            path = shard.base / name
            known = path.is_file()
            files.add({"path": name, "sha256": sha256_file(path) if known else None, "bytes": _size(path)})
    return {"documents": documents.rows}


def _read(shard: Reading, name: str) -> Iterator[Item]:
    """What one file holds; damage to the file itself comes last, as a Drop of its own."""
    source, path = shard.source, shard.base / name
    faults: list[tuple[str, str]] = []
    origin = Origin(source.name, source.domain, name, source.licence, shard.markup)
    if path.is_file() and path.stat().st_size == 0:
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


def _superseded(connection: Any, shards: Sequence[Reading]) -> dict[int, dict[int, str]]:
    """Per shard, the rows that a newer record or a DeleteCitation makes void, with the reason.

    Of a PMID the highest version counts, of equal versions the later file (MEDLINE's files are numbered in the order of their
    release), of one file the later record. A deletion voids what stands before it.
    """
    connection.execute("create table versions (pmid bigint, version int, shard int, row bigint)")
    for number, shard in enumerate(shards):
        connection.register("stated", scan([shard.beside("versions")], VERSIONS))
        connection.execute(f"insert into versions select pmid, version, {number}, row from stated")
    rows = connection.execute(f"""
        with deleted as (select pmid, max((shard, row)) as place from versions where version = {DELETED} group by pmid),
             records as (select v.*, d.place is not null and (v.shard, v.row) < d.place as gone
                         from versions v left join deleted d using (pmid) where version <> {DELETED}),
             ranked as (select *, row_number() over (partition by pmid, gone order by version desc, shard desc, row desc) as rank
                        from records)
        select shard, row, case when gone then 'deleted-citation' else 'older-version' end from ranked where gone or rank > 1
        order by shard, row""").fetchall()
    void: dict[int, dict[int, str]] = {}
    for shard_number, row, reason in rows:
        void.setdefault(shard_number, {})[row] = reason
    return void


def _settle(source: Path, place: Path, void: Mapping[int, str]) -> Iterator[Drop]:
    """Bring a shard to its place, less its void rows, which are yielded as drops. The shard at `source` stays for a resumed call."""
    place.unlink(missing_ok=True)
    if not void:
        try:
            os.link(source, place)
        except OSError:  # a file system without hard links
            with atomic(place) as temporary:
                shutil.copyfile(source, temporary)
        return
    start = 0
    with ShardWriter(place) as writer:
        for table in tables(source):
            here = [row - start for row in void if start <= row < start + len(table)]
            for row in here:
                yield Drop(table["id"][row].as_py(), table["source_file"][row].as_py(), void[start + row])
            kept = pc.invert(pc.is_in(pa.array(range(len(table))), pa.array(here, pa.int64())))
            writer.add_table(table.filter(kept))
            start += len(table)


def _account(connection: Any, base: Path, other: Sequence[str], shards: Sequence[Reading], out: Path) -> dict[str, int]:
    """Write files.parquet from what lies in `out`; the records dropped, by reason."""
    connection.execute("create table listed (path varchar, sha256 varchar, bytes bigint)")
    connection.register("seen", scan([shard.beside("files") for shard in shards], FILES))
    connection.register("documents", scan([out / shard.out.name for shard in shards], SCHEMA))
    connection.register("drops", scan([out / "dropped.parquet"], DROPPED))
    connection.execute("insert into listed from seen")
    for name in other:
        connection.execute("insert into listed values (?, ?, ?)", [name, sha256_file(base / name), _size(base / name)])
    connection.execute("""
        create table files as
        select listed.*, coalesce(d.n, 0) as documents, coalesce(x.n, 0) as dropped from listed
        left join (select source_file, count(*) as n from documents group by 1) d on d.source_file = path
        left join (select source_file, count(*) as n from drops group by 1) x on x.source_file = path""")
    with ShardWriter(out / "files.parquet", COUNTED) as writer:
        for block in blocks(connection.sql("from files order by path"), 10_000):
            writer.add_table(block)
    reasons = Counter[str]()
    for table in tables(out / "dropped.parquet", ["reason"]):
        reasons.update(table["reason"].to_pylist())
    return dict(sorted(reasons.items()))
