"""Both servers as processes of their own, the load on them, and the models they serve."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sides.serve_client import ask, completion

import medloom
from medloom.ledger import Refusal
from medloom.model import new_model, train_tokenizer
from medloom.model.gguf_file import open_gguf
from medloom.quantise import export_gguf
from medloom.recipe import Shape

HERE = Path(__file__).resolve().parent
TOKENS = 64  # of an answer
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(Path(medloom.__file__).parents[1])])}


@dataclass(frozen=True)
class Server:
    """A server that answers at `url`."""

    url: str
    process: subprocess.Popen[str]

    @property
    def engine(self) -> int | None:
        """The process id of the engine behind a gateway, None for the bare engine."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return next((int(child) for task in tasks for child in (task / "children").read_text().split()), None)

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of the process and of the engine behind it."""
        return _cpu(self.process.pid), _cpu(self.engine)

    def resident_mb(self) -> float:
        """Memory that the process holds, in MB of 10^6 bytes, without the engine behind it."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu(pid: int | None) -> float:
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def gateway(model: Path, *, slots: int, queue: int | None = None, context: int | None = None) -> Iterator[Server]:
    """`medloom serve` on a free port, one thread in its engine, everything else as it comes."""
    options = [f"--slots={slots}", *([] if queue is None else [f"--queue={queue}"]), *([] if context is None else [f"--context={context}"])]
    with _process([sys.executable, "-m", "medloom", "serve", str(model), "--port=0", "--threads=1", *options]) as server:
        yield server


@contextlib.contextmanager
def bare(model: Path, *, slots: int, ui: bool = False) -> Iterator[Server]:
    """llama.cpp's server of the same model, context, slots and threads; 4096 is the most context that `medloom serve` gives by itself."""
    head = open_gguf(model)
    context = min(4096, int(head.value(f"{head.value('general.architecture')}.context_length")))
    settings = {"model": str(model), "context": context, "slots": slots, "threads": 1, "ui": ui}
    with _process([sys.executable, "-m", "sides.serve_bare", json.dumps(settings)]) as server:
        yield server


@contextlib.contextmanager
def _process(command: Sequence[str]) -> Iterator[Server]:
    """Start, wait until it says its address, and at the end send SIGTERM."""
    with tempfile.TemporaryFile("w+") as noise, subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=noise, stderr=noise, text=True, env=_ENVIRONMENT) as process:
        try:
            yield Server(_address(process, noise, " ".join(command[1:5])), process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str], noise: Any, name: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        noise.seek(0)
        said = noise.read()
        found = re.search(r"http://[^\s]+(?=\s)", said)
        if found:
            return found[0].rstrip("/")
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise RuntimeError(f"{name}: it did not start: {said[-2000:]}")


def under_load(server: Server, bodies: Sequence[Mapping[str, Any]], clients: int, **limits: Any) -> dict[str, Any]:
    """What the clients, in a process of their own, say of it, with the CPU seconds of the server and of the engine behind it."""
    before = server.cpu()
    done = subprocess.run([sys.executable, "-m", "sides.serve_client", json.dumps(
        {"url": server.url, "path": "/v1/completions", "bodies": bodies, "clients": clients, **limits})],
        env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    after = server.cpu()
    return {**json.loads(done.stdout), "server_cpu": after[0] - before[0], "engine_cpu": after[1] - before[1]}


def long_prompts(server: Server, wanted: int) -> list[str]:
    """Prompts, drawn from the model itself, that it goes on from for TOKENS tokens at temperature 0 without an end, each in its own way."""
    async def text(**fields: Any) -> tuple[str, int]:
        answer = await ask(server.url, completion(server.url, **fields))
        return (json.loads(answer.body)["choices"][0]["text"], answer.tokens) if answer.status == 200 else ("", 0)

    async def drawn() -> list[str]:
        found: dict[str, str] = {}
        for seed in range(20 * wanted):
            prompt, _ = await text(prompt="\n", max_tokens=40, temperature=1, seed=seed)  # the start of a line goes on best
            answer, tokens = await text(prompt=prompt, max_tokens=TOKENS, temperature=0) if prompt.strip() else ("", 0)
            if tokens == TOKENS:
                found.setdefault(answer, prompt)
            if len(found) == wanted:
                return list(found.values())
        raise RuntimeError(f"only {len(found)} of {20 * wanted} prompts have an answer of {TOKENS} tokens of their own")

    return asyncio.run(drawn())


def bodies(prompts: Sequence[str], *, stream: bool, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """What is asked: the likeliest tokens, counted at the end."""
    more = {"stream_options": {"include_usage": True}} if stream else {}
    return [{"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": stream, **more} for prompt in prompts]


def slow_model(folder: Path) -> Path:
    """A file of random weights that writes for as long as it is let and not fast: some 26 million parameters, context 2048."""
    tokenizer, model = folder / "tokenizer", folder / "slow"
    tokenizer.mkdir()
    train_tokenizer(["Glorin is a drug for the blue fever of the marsh. Which drug helps? The answer is: glorin. "] * 8, 320, tokenizer)
    shape = Shape(hidden=512, feed_forward=1536, layers=8, heads=8, kv_heads=4, context=2048, vocabulary=320, tied=True)
    new_model(shape, tokenizer, 1, model)
    export_gguf(model, folder / "slow.gguf", "F16")
    return folder / "slow.gguf"


def find_model(given: Path | None) -> Path:
    """The file to serve: the one given, or the demo's, where it was run in this folder. Raises Refusal."""
    if given is not None:
        open_gguf(given)
        return given.resolve()
    found = sorted(Path("medloom-demo").rglob("model-Q4_K_M.gguf"))
    if not found:
        raise Refusal("no medloom-demo/**/model-Q4_K_M.gguf here; run `medloom demo --no-chat` first, or name a file with --model")
    return found[0].resolve()
