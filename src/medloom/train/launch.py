"""Starts the ranks of a job with torchrun, passes signals on to them, and tells what became of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..ledger import Broken, Refusal, Stopped
from .hosts import hosts
from .worker import FIGURES, RANKS, Launched

LOGS, LOG = "logs", "torchrun.log"
ASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
DEAD = re.compile(r"host +: (?P<host>\S+)\n +rank +: (?P<rank>\d+) .*\n +exitcode +: -(?P<signal>\d+) ")
NOT_THE_CAUSE = (signal.SIGTERM, signal.SIGINT, signal.SIGABRT)  # what torchrun and NCCL end the other ranks with


def run_ranks(module: Sequence[str], processes: int, folder: Path, show: Launched) -> dict[str, Any]:
    """Run `python -m MODULE...` as `processes` ranks and return what rank 0 leaves (see `worker.take_part`).

    folder: the job's; logs go to `logs/` in it. What rank 0 writes to standard output appears on this process's standard error. At
    SIGTERM, SIGINT or SIGUSR1 a rank is asked to stop, and all do after saving; a second SIGINT ends them at once. Raises Stopped and
    Refusal as the ranks do, and Broken with the traceback of the rank that failed first.
    """
    where = hosts()
    if processes % where.count:
        raise Refusal(f"layout: {processes} processes do not divide over the {where.count} hosts of this run; change the one or the other")
    for left in (RANKS, LOGS):
        shutil.rmtree(folder / left, ignore_errors=True)
    (folder / FIGURES).unlink(missing_ok=True)
    (folder / LOGS).mkdir()
    here = processes // where.count
    # Rank 0's standard output is left alone. It is the first of a host, which cannot be known before all have met.
    redirects = ",".join(f"{rank}:{3 if rank else 2}" for rank in range(here))
    command = [*where.command(here), "--log-dir", str(folder / LOGS), "--redirects", redirects, "-m", *module, "--launched", show]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // here)))
    with (folder / LOGS / LOG).open("wb") as log:
        # A session of its own: Ctrl-C is passed on once, not sent to every process of the terminal's group.
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=2, stderr=log, start_new_session=True,
                                 env={**os.environ, "OMP_NUM_THREADS": threads})
        with child, _passed_on(child) as asked:
            code = child.wait()
    if code == 0 and (folder / FIGURES).is_file():
        figures: dict[str, Any] = json.loads((folder / FIGURES).read_text())
        return figures
    raise _what_happened(folder, code, asked)


@contextmanager
def _passed_on(child: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Have the ranks stop at a signal that this process gets meanwhile; yields the list of signals. Only the main thread gets any."""
    asked: list[int] = []
    assert child.stdin is not None
    channel = child.stdin.fileno()

    def pass_on(number: int, frame: object) -> None:
        if number == signal.SIGINT and number in asked:
            os.dup2(os.open(os.devnull, os.O_WRONLY), channel)  # closed, as far as the ranks can see
        elif number not in asked:
            with suppress(BrokenPipeError):  # it has just ended
                os.write(channel, b"stop\n")
        asked.append(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, pass_on) for number in ASKS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _what_happened(folder: Path, code: int, asked: Sequence[int]) -> Exception:
    """The first thing that went wrong; what it brought about in other ranks is in their files."""
    log = folder / LOGS / LOG
    text = log.read_text(encoding="utf-8", errors="replace")
    said = sorted((json.loads(path.read_text()) for path in (folder / RANKS).glob("*.json")), key=lambda rank: float(rank["time"]))
    hows = [rank["how"] for rank in said]
    if "stopped" in hows and not {"failed", "refused"} & set(hows[: hows.index("stopped")]):
        return Stopped(said[hows.index("stopped")]["text"])
    for dead in DEAD.finditer(text):  # by a signal: it said nothing itself, and others may have said that they missed it
        number = int(dead["signal"])
        if number not in NOT_THE_CAUSE:
            hint = "; was there too little memory?" if number == signal.SIGKILL else ""
            return Broken(f"rank {dead['rank']} on {dead['host']} was ended by {signal.Signals(number).name}{hint}\nlogs: {folder / LOGS}")
    if said and said[0]["how"] == "refused":
        return Refusal(said[0]["text"])
    if asked and not said:
        return Stopped(f"stopped by {signal.Signals(asked[0]).name} before there was anything to save")
    if said:
        return Broken(f"rank {said[0]['rank']} on {said[0]['host']} failed:\n{said[0]['text']}logs: {folder / LOGS}")
    end = "\n".join(text.splitlines()[-30:])
    return Broken(f"the ranks ended with code {code} and none said why; the end of {log}:\n{end}")
