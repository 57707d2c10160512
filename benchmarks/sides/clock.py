"""The clock round a piece of work, the same on both sides. Nothing but the standard library, since each side has its own environment."""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Work = Callable[..., Callable[[], Any]]


def cpu_seconds() -> float:
    """User and system time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in used)


def peak_megabytes() -> float:
    """The most memory (resident) that this process has held, in MB of 10^6 bytes.

    From /proc where there is one: ru_maxrss begins at what the parent held when it forked.
    """
    try:
        with Path("/proc/self/status").open() as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def run(works: Mapping[str, Work]) -> None:
    """Do the work that the command line names with its arguments, and print what it took and gave as JSON on the last line.

    A work imports and opens what it needs and returns a function; that function alone is measured.
    """
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    work = works[name](**arguments)
    gc.collect()
    cpu, wall = cpu_seconds(), time.perf_counter()
    result = work()
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    sys.stdout.flush()
    os.write(1, b"\n" + json.dumps({"cpu": cpu, "wall": wall, "peak_mb": peak_megabytes(), "result": result}).encode() + b"\n")
