"""A child process that serves, and is started again whenever it dies, after a pause that doubles up to half a minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO

from medloom.ledger import Refusal

log = logging.getLogger("medloom.serve")
PATIENT = 5.0  # seconds in which a child ends by itself once its standard input is closed


class ChildProcess(ABC):
    """A child that ends when its standard input closes, and tells its address when it is ready.

    `url` is empty while it is not ready; `restarts` counts how often it had to be started again.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.url = ""
        self.restarts = 0
        self._child: subprocess.Popen[str] | None = None
        self._noise: IO[bytes] | None = None

    @abstractmethod
    def _launch(self, noise: IO[bytes]) -> subprocess.Popen[str]:
        """Start the process, with what it says on standard error going to `noise`. Raises Refusal where there is nothing to start."""

    @abstractmethod
    def _address(self, child: subprocess.Popen[str]) -> str | None:
        """Wait until it serves, and tell where; None where it ended first."""

    @property
    def ready(self) -> bool:
        """Whether the child has loaded the model and lives."""
        return bool(self.url) and self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id, None without one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start the child and wait until it serves. Raises Refusal with its last words where it does not."""
        self.url = ""
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the child
        self._child = self._launch(self._noise)
        url = self._address(self._child)
        if url is None:
            self._child.kill()
            self._child.wait()
            raise Refusal(self._cannot(self._last_words()))
        self.url = url

    def _cannot(self, words: str) -> str:
        return f"{self.name}: the engine cannot serve it ({words})"

    async def supervise(self) -> None:
        """Start the child again whenever it has died; runs until cancelled."""
        pause = 0.25
        while True:
            child = self._child
            if child is not None:
                began = time.monotonic()
                while child.poll() is None:
                    await asyncio.sleep(0.05)
                if time.monotonic() - began > 60:
                    pause = 0.25
                log.error("%s: the engine ended with status %s; starting it again in %.2f s", self.name, child.returncode, pause)
            self.url = ""
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30)
            self._close()
            starting = asyncio.get_running_loop().run_in_executor(None, self.start)
            try:
                await asyncio.shield(starting)
                self.restarts += 1
                log.warning("%s: the engine is back", self.name)
            except Refusal as refusal:
                log.error("%s", refusal)
            except asyncio.CancelledError:
                with contextlib.suppress(Refusal):
                    await starting  # a child that nobody waits for would be left behind
                raise

    def stop(self) -> None:
        """End the child; harmless where there is none."""
        self.url = ""
        if self._child is not None and self._child.poll() is None:
            assert self._child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
            try:
                self._child.wait(PATIENT)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._close()

    def _close(self) -> None:
        if self._child is not None:
            for stream in (self._child.stdin, self._child.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        if self._noise is not None:
            self._noise.close()
        self._child = self._noise = None

    def _last_words(self) -> str:
        assert self._noise is not None
        self._noise.seek(0)
        lines = [line.strip() for line in self._noise.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line.lower() or "fail" in line.lower()]
        return (telling or lines or ["it ended without a word"])[-1][:300]


def environment(**more: str) -> dict[str, str]:
    """The parent's, with the place this package was loaded from, so that the child finds the same one."""
    here = str(Path(__file__).resolve().parents[3])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))), **more}
