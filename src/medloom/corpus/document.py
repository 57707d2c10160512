"""The document: what every reader yields and every shard on disk holds. Cleaning and choosing happen elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medloom.ledger.files import atomic

from .markup import PLAIN, Markup

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.string()),
        ("title", pa.string()),
        ("source", pa.string()),
        ("domain", pa.string()),
        ("source_file", pa.string()),
        ("licence", pa.string()),
        ("licence_url", pa.string()),
        ("language", pa.string()),
        ("year", pa.int32()),
        ("doi", pa.string()),
        ("pmid", pa.string()),
        ("pmcid", pa.string()),
        ("corpus_id", pa.string()),
        ("categories", pa.list_(pa.string())),
        ("sha256", pa.string()),
    ]
)

DROPPED = pa.schema([(name, pa.string()) for name in ("id", "source", "source_file", "reason", "detail")])

BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 4_000_000

Value = str | int | None | tuple[str, ...]
Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a reader is told of the file in hand: the source's name, domain and licence, the file's name relative to the source's
    root, and how references, figures and tables are written."""

    source: str
    domain: str
    name: str
    licence: str | None = None
    markup: Markup = PLAIN

    @property
    def key(self) -> str:
        """The id of a document that brings none and has the file to itself."""
        return f"{self.source}:{self.name}"

    def document(self, id: str, text: str, **more: Any) -> Document:
        """A document from this file; fields that are not given are unknown, the licence the source's."""
        return Document(id, text, self.source, self.domain, self.name, **{"licence": self.licence, **more})

    def drop(self, reason: str, detail: str | None = None, id: str | None = None) -> Drop:
        """A record of this file that became no document, or the whole file where no id is given."""
        return Drop(id or self.key, self.name, reason, detail)


@dataclass(frozen=True, slots=True)
class Document:
    """One text with where it comes from; None where a source does not say.

    `id` is "pmid:123", "pmc:123", "doi:10.1/x", "s2:123" or "<source>:<path or record id>"; `source_file` is relative to the source's
    root; `language` is ISO 639-1; `year` that of publication; `corpus_id` Semantic Scholar's number; `categories` are MEDLINE's
    publication types and, where it is one, the check tag "Animals"; `sha256` is of the text's UTF-8 bytes.
    """

    id: str
    text: str
    source: str
    domain: str
    source_file: str
    title: str | None = None
    licence: str | None = None
    licence_url: str | None = None
    language: str | None = None
    year: int | None = None
    doi: str | None = None
    pmid: str | None = None
    pmcid: str | None = None
    corpus_id: str | None = None
    categories: tuple[str, ...] = ()

    def row(self) -> Row:
        """The document as a row of SCHEMA."""
        values: Row = {name: getattr(self, name) for name in SCHEMA.names if name != "sha256"}
        values["sha256"] = hashlib.sha256(self.text.encode()).hexdigest()
        return values


@dataclass(frozen=True, slots=True)
class Drop:
    """A record that became no document. `reason` is one of a few fixed words, for counting; `detail` is for a reader's eye."""

    id: str
    source_file: str
    reason: str
    detail: str | None = None


class ShardWriter:
    """Writes rows to one Parquet file, whole or not at all, in row groups of bounded size.

    Use as a context manager: `with ShardWriter(path, SCHEMA) as writer: writer.add(row)`. An empty file is written for no rows.
    """

    def __init__(self, path: Path, schema: pa.Schema = SCHEMA) -> None:
        self.path, self.schema, self.rows = path, schema, 0
        self._pending: list[Mapping[str, Value]] = []
        self._characters = 0

    def __enter__(self) -> ShardWriter:
        self._context = atomic(self.path)
        self._file = pq.ParquetWriter(self._context.__enter__(), self.schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is None:
            self._flush()
        self._file.close()
        self._context.__exit__(kind, error, trace)  # type: ignore[arg-type]

    def add(self, row: Mapping[str, Value]) -> None:
        """Append a row with the schema's keys."""
        self.rows += 1
        self._pending.append(row)
        self._characters += len(str(row.get("text") or ""))
        if len(self._pending) >= BATCH_DOCUMENTS or self._characters >= BATCH_CHARACTERS:
            self._flush()

    def add_table(self, table: pa.Table) -> None:
        """Append rows as a row group of their own."""
        self._flush()
        if len(table):
            self.rows += len(table)
            self._file.write_table(table.cast(self.schema))

    def _flush(self) -> None:
        if self._pending:
            self._file.write_table(pa.Table.from_pylist(self._pending, schema=self.schema))
        self._pending, self._characters = [], 0


def tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """A shard's row groups in their order, one in memory at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns)


def rows(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of a shard in their order."""
    for table in tables(path, columns):
        yield from table.to_pylist()


def drop_row(drop: Drop, source: str) -> Row:
    """A drop as a row of DROPPED."""
    return {"id": drop.id, "source": source, "source_file": drop.source_file, "reason": drop.reason, "detail": drop.detail}
