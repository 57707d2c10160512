"""How long work tells where it stands: a bar on a terminal's stderr, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol


class Task(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count `amount` more of the total; `note` says what is worth saying just now, such as a loss."""


class Progress(Protocol):
    """What a room is given to report to."""

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        """Announce a piece of work of `total` units (None where unknown); it ends with the block."""
        yield NOTHING

    def say(self, line: str) -> None:
        """Say between two pieces of work what should stay to be read."""


class _Nothing:
    def advance(self, amount: float = 1, note: str = "") -> None:
        pass


NOTHING: Task = _Nothing()


class Silent:
    """Reports nothing: tests and --quiet."""

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        yield NOTHING

    def say(self, line: str) -> None:
        """Nothing."""


class Bars:
    """A bar per task on a terminal; elsewhere a line when a task starts or ends and one every ten seconds between."""

    @contextmanager
    def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
        if not sys.stderr.isatty():
            lines = _Lines(name, total, unit)
            yield lines
            lines.finish()
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (SpinnerColumn(), TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(),
                   TextColumn("{task.fields[unit]} {task.fields[note]}"), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            bar = bars.add_task(name, total=total, unit=unit, note="")

            class _Bar:
                def advance(self, amount: float = 1, note: str = "") -> None:
                    bars.advance(bar, amount)
                    if note:
                        bars.update(bar, note=note)

            yield _Bar()

    def say(self, line: str) -> None:
        """On stderr."""
        sys.stderr.write(f"  {line}\n")


class _Lines:
    def __init__(self, name: str, total: float | None, unit: str) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done, self.note = 0.0, ""
        self.started = self.told = time.monotonic()
        self.then: float | None = None  # how much was done when the last line was told

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note
        now = time.monotonic()
        if now - self.told >= 10:
            left = ""
            # The first line cannot tell: what an earlier run had done counts as done in no time.
            if self.total is not None and self.then is not None and self.done > self.then:
                left = f"  {timedelta(seconds=round((now - self.told) * (self.total - self.done) / (self.done - self.then)))} left"
            self.told, self.then = now, self.done
            self._say(left)

    def finish(self) -> None:
        if time.monotonic() - self.started >= 1:
            self._say(f" in {time.monotonic() - self.started:.1f} s")

    def _say(self, end: str) -> None:
        of = f"/{self.total:,.10g}" if self.total is not None else ""
        sys.stderr.write(f"  {self.name}: {self.done:,.10g}{of} {self.unit} {self.note}".rstrip() + end + "\n")
        sys.stderr.flush()
