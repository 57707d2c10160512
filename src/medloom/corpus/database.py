"""DuckDB for what concerns all documents at once: joins, groups and order, in bounded memory; what does not fit is spilled to disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from medloom.ledger import Refusal
from medloom.recipe import Corpus


@contextmanager
def database(folder: Path, settings: Corpus) -> Iterator[Any]:
    """A connection to a fresh database that lives in `folder`, which is emptied before and removed after.

    Memory is bounded by `settings.memory_mb`. Raises Refusal where that is too little, OSError where the disk is full.
    """
    import duckdb

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    threads = settings.workers or len(os.sched_getaffinity(0))
    try:
        with duckdb.connect(str(folder / "work.duckdb"), config={
                "memory_limit": f"{settings.memory_mb}MB", "threads": threads, "temp_directory": str(folder / "spilled"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False, "autoload_known_extensions": False}) as connection:
            yield connection
    except duckdb.OutOfMemoryException as error:
        if "disk" in str(error).lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
        raise Refusal(f"corpus.memory_mb = {settings.memory_mb} is too little for this corpus: {str(error).splitlines()[0]}") from None
    except duckdb.IOException as error:
        if "space" in str(error).lower():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def scan(paths: Sequence[Path], schema: pa.Schema) -> Any:
    """Parquet files of one schema as what a connection can register and read, only what it needs, a batch at a time."""
    return ds.dataset([str(path) for path in paths], schema=schema, format="parquet")


def blocks(relation: Any, rows: int) -> Iterator[pa.Table]:
    """The rows of an ordered query in tables of `rows` each, the last of what is left.

    DuckDB's own batches end where its threads happen to; what is written from these is the same whatever their number.
    """
    held: list[pa.Table] = []
    count = 0
    for batch in relation.to_arrow_reader(rows):
        held.append(pa.Table.from_batches([batch]))
        count += len(batch)
        while count >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held = [whole.slice(rows)]
            count -= rows
    if count:
        yield pa.concat_tables(held)
