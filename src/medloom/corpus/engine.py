"""Runs one pure function over many shards, wherever there is room: here, on a pool of processes, on Ray, through Slurm.

A shard is a task that knows where its record goes. The record is written last and carries the digest of what went in, so that a
second call, or a call after a kill, finds what is done and does only the rest; and as the function is pure, the bytes are the same
whichever engine ran it and however many workers it had.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from medloom.ledger import Progress, Refusal
from medloom.ledger.files import read_json, write_json
from medloom.recipe import Corpus

WORTH_A_POOL = 16_000_000  # bytes of input; below, starting processes costs more than they save
ARRAY = 1000  # tasks of one Slurm array: below the 1001 that Slurm allows where nobody raised it
IDLE = 20.0  # seconds
TURNS = 4  # tasks for each that may run at a time, so that a slow one does not hold up the end
Record = dict[str, Any]


class Shard(Protocol):
    """One task. Its fields are picklable; on a cluster its paths mean the same on every node."""

    @property
    def record(self) -> Path:
        """The JSON file that says it is done; whoever deletes it has the task done again."""

    @property
    def digest(self) -> str:
        """Digest of all that decides the result."""


S = TypeVar("S", bound=Shard)
Work = Callable[[S], Mapping[str, Any]]


def run_shards(work: Work[S], shards: Sequence[S], settings: Corpus, *, size: int, progress: Progress, name: str,
               stage: str) -> list[Record]:
    """`work` of every shard that is not done yet; all their records, in the order of the shards.

    `work` is a module's own function; what it returns is recorded with the shard's digest and the CPU seconds it took. `settings` name
    the engine and the workers; where they give no number of workers, one per CPU is taken if `size` (bytes of input) is worth a pool.
    Calls of one `stage` after each other share their pool. Raises Refusal where an engine is asked for that is not installed, and
    whatever `work` raises.
    """
    workers = settings.workers or (len(os.sched_getaffinity(0)) if size >= WORTH_A_POOL or settings.engine != "processes" else 1)
    with progress.task(name, total=len(shards), unit="shards") as task:
        waiting = []
        for number, shard in enumerate(shards):
            if read_json(shard.record).get("digest") == shard.digest:
                task.advance()
            else:
                waiting.append(number)
        if waiting:
            engine = ENGINES[settings.engine] if settings.engine != "processes" or min(workers, len(waiting)) > 1 else _here
            for _ in engine(work, [shards[number] for number in waiting], min(workers, len(waiting)), settings, stage):
                task.advance()
    return [read_json(shard.record) for shard in shards]


def make(work: Work[S], shard: S) -> None:
    """Do one shard and record it."""
    started = time.process_time()
    figures = work(shard)
    write_json(shard.record, {"digest": shard.digest, "cpu_seconds": time.process_time() - started, **figures})


def _here(work: Work[S], shards: Sequence[S], workers: int, settings: Corpus, stage: str) -> Iterator[None]:
    for shard in shards:
        make(work, shard)
        yield


def _processes(work: Work[S], shards: Sequence[S], workers: int, settings: Corpus, stage: str) -> Iterator[None]:
    with POOL.busy():
        pool = POOL.of(settings.workers or workers, stage)
        futures = [pool.submit(make, work, shard) for shard in shards]
        for future in as_completed(futures):
            yield future.result()


class _Kept:
    """Processes that are kept for the calls to come: they end when they were idle for a while, and at once where work in them failed."""

    def __init__(self) -> None:
        self._end = threading.Timer(0, self.close)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Nothing ends the processes inside of this."""
        self._end.cancel()
        if self._end.is_alive():
            self._end.join()  # it may be ending them just now
        try:
            yield
        except BaseException:
            self.close()
            raise
        self._end = threading.Timer(IDLE, self.close)
        self._end.daemon = True
        self._end.start()

    def close(self) -> None:
        """End the processes; what they have not begun is not done."""
        raise NotImplementedError


class _Pool(_Kept):
    """One pool for the calls of a stage: a worker takes a second to start. It ends with the stage, so that no worker holds what two
    stages need."""

    def __init__(self) -> None:
        super().__init__()
        self._pool: ProcessPoolExecutor | None = None
        self._meant: tuple[int, str] | None = None

    def of(self, workers: int, stage: str) -> ProcessPoolExecutor:
        """The pool of a stage, with so many workers."""
        if self._pool is None or self._meant != (workers, stage):
            self.close()
            # Spawned, not forked: the parent may hold threads of torch or Arrow, and a fork of those can lock up.
            spawned = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, mp_context=spawned, initializer=_end_with_parent)
            self._meant = workers, stage
        return self._pool

    def close(self) -> None:
        """See _Kept."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)


class _Ray(_Kept):
    """Ray, which takes seconds to start: that of an address, one of this machine, or one that runs in this process already and is left."""

    def __init__(self) -> None:
        super().__init__()
        self._meant: tuple[int, str | None] | None = None

    def start(self, workers: int, address: str | None) -> None:
        """Have a Ray with so many workers where there is none."""
        import ray

        if self._meant is not None and self._meant != (workers, address):
            self.close()
        if not ray.is_initialized():
            here = {"num_cpus": workers, "include_dashboard": False} if address is None else {}
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
            self._meant = workers, address

    def close(self) -> None:
        """See _Kept."""
        import ray

        if self._meant is not None:
            ray.shutdown()
        self._meant = None


POOL, RAY = _Pool(), _Ray()


def _ray(work: Work[S], shards: Sequence[S], workers: int, settings: Corpus, stage: str) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    if settings.cluster.address is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else it leaves a token in the user's home
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    try:
        import ray
    except ImportError:
        raise Refusal("corpus.engine = 'ray' needs Ray: pip install 'medloom[ray]'") from None
    with RAY.busy():
        RAY.start(settings.workers or workers, settings.cluster.address)
        remote = ray.remote(num_cpus=1, max_retries=2)(make)
        queue = iter(shards)
        running: list[Any] = []
        try:
            while True:
                while len(running) < 2 * workers and (shard := next(queue, None)) is not None:
                    running.append(remote.remote(work, shard))
                if not running:
                    break
                done, running = ray.wait(running)
                yield ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None


def _slurm(work: Work[S], shards: Sequence[S], workers: int, settings: Corpus, stage: str) -> Iterator[None]:
    try:
        import submitit
    except ImportError:
        raise Refusal("corpus.engine = 'slurm' needs submitit: pip install 'medloom[slurm]'") from None
    if shutil.which("sbatch") is None:
        raise Refusal("corpus.engine = 'slurm' needs sbatch, which is not here; run this on a login node, or take another engine")
    logging.getLogger("submitit").setLevel(logging.ERROR)
    cluster = settings.cluster
    executor = submitit.SlurmExecutor(folder=shards[0].record.parent / "slurm")
    given = {"partition": cluster.partition, "account": cluster.account}
    executor.update_parameters(job_name="medloom-corpus", time=cluster.minutes, mem=f"{cluster.memory_mb}MB", cpus_per_task=1,
                               array_parallelism=workers, **{key: value for key, value in given.items() if value is not None})
    # An array has a bounded number of tasks, and each costs a start, so that each takes every so-manieth shard.
    tasks = min(len(shards), ARRAY, TURNS * workers)
    jobs = executor.map_array(_several, [work] * tasks, [shards[number::tasks] for number in range(tasks)])
    left, moved = set(range(len(shards))), time.monotonic()
    try:
        while left:
            done = {number for number in left if read_json(shards[number].record).get("digest") == shards[number].digest}
            left -= done
            yield from (None for _ in done)
            moved = time.monotonic() if done else moved
            for job in jobs:
                if left and job.paths.result_pickle.exists():
                    job.result()  # raises what stopped it
            if left:
                # Slurm itself is asked only where nothing was heard for a while: each question is a process on its controller.
                if time.monotonic() - moved > cluster.quiet_seconds:
                    if not _queued({job.job_id.partition("_")[0] for job in jobs}):
                        raise RuntimeError(f"Slurm ended the tasks before their work was done; see the logs in {executor.folder}")
                    moved = time.monotonic()
                time.sleep(cluster.poll_seconds)
    except submitit.core.utils.FailedJobError as error:
        raise RuntimeError(f"a Slurm task failed, see {executor.folder}: {str(error).strip().splitlines()[-1]}") from None
    finally:
        for job in jobs if left else ():
            job.cancel(check=False)


def _queued(jobs: Collection[str]) -> bool:
    """Whether Slurm still has any of these jobs to run or running. A controller that does not answer is taken to have."""
    asked = subprocess.run(["squeue", "--noheader", "--jobs", ",".join(jobs)], capture_output=True, text=True)
    return bool(asked.stdout.strip()) or (asked.returncode != 0 and "Invalid job id" not in asked.stderr)


def _several(work: Work[S], shards: Sequence[S]) -> None:
    for shard in shards:
        make(work, shard)


ENGINES = {"processes": _processes, "ray": _ray, "slurm": _slurm}


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed: it would wait for work forever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
