"""The clock of a training run, the same on both sides: one stamp at the end of each step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any


class Steps:
    """Seconds of CPU (all threads of the process) and on the wall between the ends of steps. The first, which compiles, has none."""

    def __init__(self) -> None:
        self._cpu: list[float] = []
        self._wall: list[float] = []

    def stamp(self) -> None:
        """A step has ended."""
        self._cpu.append(time.process_time())
        self._wall.append(time.perf_counter())

    def result(self, first_loss: float, counted: Sequence[int]) -> dict[str, Any]:
        """What a side gives: seconds of each step but the first, `first_loss` in nats a token, targets `counted` in each of those steps."""
        if len(counted) != len(self._cpu):
            raise RuntimeError(f"{len(self._cpu)} steps were timed and {len(counted)} were reported")
        return {"cpu": _differences(self._cpu), "wall": _differences(self._wall), "first_loss": first_loss, "counted": list(counted[1:])}

    # What follows makes it the progress that medloom reports to: it advances once a step.

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Steps]:
        """The run."""
        yield self

    def advance(self, amount: float = 1, note: str = "") -> None:
        """A step has ended."""
        self.stamp()

    def say(self, line: str) -> None:
        """Nothing."""


def _differences(stamps: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(stamps)]
