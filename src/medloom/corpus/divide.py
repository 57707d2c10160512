"""Sends every document of a shard where it was chosen to go, and keeps the books of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from medloom.ledger.files import sha256_json

from . import document
from .choose import DROPPED, TRAIN, VALID
from .document import ShardWriter, tables
from .report.account import Account

SCHEMAS = {TRAIN: document.SCHEMA, VALID: document.SCHEMA, DROPPED: document.DROPPED}


@dataclass(frozen=True)
class Division:
    """One shard to divide: its number, its domain, the fates of all documents with their digest, the names of all sources, and the
    folder of the corpus."""

    shard: Path
    number: int
    domain: str
    fates: Path
    fates_digest: str
    sources: tuple[str, ...]
    out: Path
    record: Path

    @property
    def digest(self) -> str:
        """What was chosen, and of which documents."""
        return sha256_json([self.shard.name, self.shard.stat().st_size, self.number, self.fates_digest])

    def place(self, fate: str) -> Path:
        """Where the documents of a fate go."""
        return self.out / (f"{VALID}/{self.domain}" if fate == VALID else fate) / f"part-{self.number:05d}.parquet"


def divide(task: Division) -> Mapping[str, Any]:
    """Write the parts of one shard, none where there is nothing to write, and return its account."""
    fates = pq.read_table(task.fates, filters=[("shard", "=", task.number)])
    account = Account()
    start = 0
    with ExitStack() as stack:
        writers = {fate: stack.enter_context(ShardWriter(task.place(fate), schema)) for fate, schema in SCHEMAS.items()}
        for table in tables(task.shard):
            mine = fates.slice(start, len(table))
            start += len(table)
            # The detected language where none was declared.
            table = table.set_column(table.schema.get_field_index("language"), "language", mine["language"])
            for fate, writer in writers.items():
                wanted = pc.equal(mine["fate"], fate)
                part, why = table.filter(wanted), mine.filter(wanted)
                if fate == DROPPED:
                    account.drop(why, list(task.sources))
                    part = part.append_column("reason", why["reason"]).append_column("detail", why["detail"])
                elif len(part):
                    account.keep(part, fate)
                writer.add_table(part.select(writer.schema.names))
    for fate, writer in writers.items():
        if not writer.rows:
            task.place(fate).unlink()
    return {"account": account.table()}
