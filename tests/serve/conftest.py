"""A tiny GGUF model and servers on it, each a process of its own as a user's would be."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medloom.model import new_model, train_tokenizer
from medloom.quantise import export_gguf
from medloom.recipe import Shape
from medloom.serve import Settings

TEXT = ("Glorin is a drug for the blue fever of the marsh. Patients with blue fever take glorin twice a day, with water. "
        "A physician may ask whether the fever is high. The answer is: glorin. Question: which drug helps? ")


class Running:
    """A served model: its address, its process, and what it said on standard error so far."""

    def __init__(self, process: subprocess.Popen[str], url: str, lines: list[str]) -> None:
        self.process, self.url, self._lines = process, url, lines

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def end(self, timeout: float = 20) -> int:
        """Send SIGTERM and wait; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model with a context of 4096 tokens: it writes nonsense, quickly, and as long as it is let."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([TEXT] * 8, 320, tokenizer)
    shape = Shape(hidden=64, feed_forward=128, layers=2, heads=4, kv_heads=2, context=4096, vocabulary=320, tied=True)
    new_model(shape, tokenizer, 1, folder)
    return folder


@pytest.fixture(scope="session")
def gguf_file(model_folder: Path) -> Path:
    """The model as a file without a chat template."""
    path = model_folder / "tiny-F16.gguf"
    export_gguf(model_folder, path, "F16")
    return path


@pytest.fixture(scope="session")
def chat_file(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a chat template in its file."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(model_folder, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    export_gguf(folder, folder / "chatty.gguf", "F16")
    return folder / "chatty.gguf"


@pytest.fixture(scope="session")
def running() -> Iterator[Callable[[list[str]], Running]]:
    """Start a server by a command; every one is ended at the end."""
    started: list[Running] = []

    def start(command: list[str]) -> Running:
        source = Path(__file__).resolve().parents[2] / "src"
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(source)})
        lines: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            found = re.search(r" at (http://\S+)", line)
            if found:
                threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True).start()
                started.append(Running(process, found[1].rstrip("/"), lines))
                return started[-1]
        raise AssertionError(f"the server did not start: {''.join(lines)}")

    yield start
    for server in started:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def launch(gguf_file: Path, running: Callable[[list[str]], Running]) -> Callable[..., Running]:
    """Start `serve` for one file with the given settings on a free port."""
    def start(model: Path = gguf_file, **settings: Any) -> Running:
        models = {"threads": 1, **{name: settings.pop(name) for name in list(settings) if name in Settings.__dataclass_fields__}}
        settings = {"port": 0, **settings}
        code = f"from pathlib import Path, PosixPath; from medloom.serve import Settings, serve; "\
               f"serve(Path({str(model)!r}), Settings(**{models!r}), **{settings!r})"
        return running([sys.executable, "-c", code])

    return start


@pytest.fixture(scope="session")
def launch_words(running: Callable[[list[str]], Running]) -> Callable[..., Running]:
    """Start `medloom serve` with the given words on a free port."""
    def start(*words: object) -> Running:
        return running([sys.executable, "-m", "medloom", "serve", *map(str, words), "--port", "0", "--threads", "1"])

    return start


@pytest.fixture(scope="session")
def server(launch: Callable[..., Running]) -> Running:
    """One server for all tests that do not harm it."""
    return launch(slots=2)
