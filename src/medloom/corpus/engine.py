"""Runs one pure function over many shards: here in this process, or on a pool of processes. The results are the same."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from medloom.ledger import Progress

T = TypeVar("T")
R = TypeVar("R")

WORTH_A_POOL = 16_000_000  # bytes of input; below, starting processes costs more than they save


def run_shards(function: Callable[[T], R], shards: Sequence[T], *, workers: int | None, size: int, progress: Progress,
               name: str) -> list[R]:
    """`function` of every shard, in their order. It must be a module's own function and its arguments picklable.

    `workers` None means one per CPU where `size` (bytes of input) is worth a pool, else none; a number is taken as it is.
    """
    count = min(workers or (len(os.sched_getaffinity(0)) if size >= WORTH_A_POOL else 1), len(shards))
    with progress.task(name, total=len(shards), unit="shards") as task:
        if count <= 1:
            results = []
            for shard in shards:
                results.append(function(shard))
                task.advance()
            return results
        # Spawned, not forked: the parent may hold threads of torch or Arrow, and a fork of those can lock up.
        with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
            futures = [pool.submit(function, shard) for shard in shards]
            try:
                for future in as_completed(futures):
                    future.result()
                    task.advance()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            return [future.result() for future in futures]


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed: it would wait for work forever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
