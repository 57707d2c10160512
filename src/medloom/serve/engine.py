"""llama.cpp's server as a supervised child process, behind the few things a gateway needs of an engine.

An engine has a `url`, a `key`, says whether it is `ready`, and takes llama.cpp's `/completion` and `/apply-template`.
Supervision is here too: a child that dies is started again, after a pause that doubles up to half a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from medloom.ledger import Refusal
from medloom.model.gguf_file import open_gguf

log = logging.getLogger("medloom.serve")


class Engine:
    """One model in one child process.

    context: tokens that one request may take, prompt and answer together; slots: requests that run at once; threads: of
    the processor, by default one less than there are, for ggml's threads wait by spinning.
    """

    def __init__(self, model: Path, *, context: int, slots: int, threads: int | None = None) -> None:
        self.model, self.context, self.slots = model, context, slots
        self.threads = threads or max(1, (os.cpu_count() or 2) - 1)
        self.key = secrets.token_urlsafe(32)
        self.url = ""
        self.restarts = 0
        self._child: subprocess.Popen[str] | None = None
        self._noise: IO[bytes] | None = None

    @property
    def ready(self) -> bool:
        """Whether the child has loaded the model and lives."""
        return bool(self.url) and self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int | None:
        """The child's process id, None without one."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start the child and wait until the model is loaded. Raises Refusal with llama.cpp's last words where it cannot be."""
        self.url = ""
        open_gguf(self.model)  # before each start, for the child itself does not look
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the child
        self._child = subprocess.Popen([sys.executable, "-m", "medloom.serve.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=self._noise, text=True, start_new_session=True, env=_environment())
        assert self._child.stdin is not None and self._child.stdout is not None
        settings = {"model": str(self.model), "context": self.context, "slots": self.slots, "threads": self.threads, "key": self.key,
                    "gpu_layers": 0}
        try:
            self._child.stdin.write(json.dumps(settings) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._child.wait()
            raise Refusal(f"{self.model}: llama.cpp cannot load it ({self._last_words()}); export it again, or free some memory")
        self.url = json.loads(line)["url"]

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
                log.error("the engine ended with status %s; starting it again in %.2f s", child.returncode, pause)
            self.url = ""
            await asyncio.sleep(pause)
            pause = min(2 * pause, 30)
            self._close()
            starting = asyncio.get_running_loop().run_in_executor(None, self.start)
            try:
                await asyncio.shield(starting)
                self.restarts += 1
                log.info("the engine is back")
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
                self._child.wait(5)
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


def _environment() -> dict[str, str]:
    """The parent's, with the place this package was loaded from, so that the child finds the same one."""
    here = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def describe(model: Path) -> dict[str, Any]:
    """What a GGUF file says of itself: {"name", "context", "chat_template"}. Raises Refusal as `open_gguf` does."""
    head = open_gguf(model)
    return {"name": head.value("general.name") or model.stem,
            "context": head.value(f"{head.value('general.architecture')}.context_length") or 2048,
            "chat_template": head.value("tokenizer.chat_template")}
