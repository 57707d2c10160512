"""The server under what the world does to it: crowds, clients that leave, signals, a dying engine, wrong files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from medloom.ledger import Refusal
from medloom.notice import NOTICE
from medloom.serve import serve

LONG = {"prompt": "Glorin is a drug", "max_tokens": 3600, "temperature": 0, "stream": True}
SHORT = {"prompt": "Glorin is", "max_tokens": 2, "temperature": 0}


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_beyond_slots_and_queue_is_429_at_once(launch: Callable[..., Any]) -> None:
    url = launch(slots=1, queue=1).url

    async def crowd() -> list[tuple[int, float, str | None]]:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            async def one() -> tuple[int, float, str | None]:
                began = time.monotonic()
                response = await client.post("/v1/completions", json={**LONG, "stream": False, "max_tokens": 900})
                return response.status_code, time.monotonic() - began, response.headers.get("retry-after")
            return list(await asyncio.gather(*(one() for _ in range(6))))

    answers = asyncio.run(crowd())
    assert sorted(status for status, _, _ in answers) == [200, 200, 429, 429, 429, 429]
    assert all(seconds < 1 and retry == "1" for status, seconds, retry in answers if status == 429)


def test_a_client_that_leaves_gives_its_slot_back(launch: Callable[..., Any]) -> None:
    url = launch(slots=1, queue=0).url
    with httpx.Client(base_url=url, timeout=30) as client:
        for leave_early in (False, True):
            if leave_early:  # no byte of an answer without streaming has come by then
                with pytest.raises(httpx.ReadTimeout):
                    client.post("/v1/completions", json={**LONG, "stream": False}, timeout=httpx.Timeout(5, read=0.05))
            else:
                with client.stream("POST", "/v1/completions", json=LONG) as response:
                    assert next(response.iter_lines()).startswith("data: ")
            deadline = time.monotonic() + 1
            while (status := client.post("/v1/completions", json=SHORT).status_code) == 429 and time.monotonic() < deadline:
                time.sleep(0.02)
            assert status == 200


def test_sigterm_lets_streams_end_and_turns_new_requests_away(launch: Callable[..., Any]) -> None:
    server = launch(slots=2)
    engine = _children(server.process.pid)
    with httpx.Client(base_url=server.url, timeout=60) as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        lines = response.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2
        while (health := httpx.get(f"{server.url}/health")).status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (health.status_code, health.json()["status"]) == (503, "draining")
        assert httpx.post(f"{server.url}/v1/completions", json=SHORT).status_code == 503
        data = [line for line in lines if line]
    assert data[-1] == "data: [DONE]"
    assert json.loads(data[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
    assert server.process.wait(10) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in engine)


def test_a_crashed_engine_comes_back_without_hands(launch: Callable[..., Any]) -> None:
    server = launch(slots=1)
    with httpx.Client(base_url=server.url, timeout=30) as client:
        before = client.post("/v1/completions", json=SHORT).json()["choices"]
        with client.stream("POST", "/v1/completions", json=LONG) as response:
            lines = response.iter_lines()
            next(lines)
            os.kill(_children(server.process.pid)[0], signal.SIGKILL)
            data = [line for line in lines if line]
        assert "error" in json.loads(data[-1].removeprefix("data: "))  # the stream says that it is not whole
        assert client.post("/v1/completions", json=SHORT).status_code in (502, 503)
        deadline = time.monotonic() + 15
        # For some milliseconds a killed process has let go of its connections and is not gone.
        while (answer := client.post("/v1/completions", json=SHORT)).status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert answer.json()["choices"] == before and client.get("/ready").status_code == 200
    assert "starting it again" in server.said


def test_the_engine_does_not_outlive_a_killed_gateway(launch: Callable[..., Any]) -> None:
    server = launch(slots=1)
    engine = _children(server.process.pid)
    server.process.kill()
    server.process.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in engine) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert engine
    assert not any(Path(f"/proc/{pid}").exists() for pid in engine)


def test_nothing_that_was_asked_or_answered_is_logged(launch: Callable[..., Any]) -> None:
    server = launch(slots=1)
    secret = "Zebulon Quirke has the marsh fever"
    for body in ({"prompt": secret, "max_tokens": 3}, {"prompt": secret, "max_tokens": -3}, {"prompt": secret, secret: 1}):
        httpx.post(f"{server.url}/v1/completions", json=body)
    httpx.get(f"{server.url}/v1/models/{secret}")
    assert server.end() == 0
    assert "Zebulon" not in server.said
    assert "Quirke" not in server.said


def test_what_cannot_be_served_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        serve(tmp_path / "none.gguf")
    foreign, cut = tmp_path / "foreign.gguf", tmp_path / "cut.gguf"
    foreign.write_bytes(b"PK\x03\x04")
    with pytest.raises(Refusal, match="not a GGUF file"):
        serve(foreign)
    cut.write_bytes(gguf_file.read_bytes()[:-1000])
    with pytest.raises(Refusal, match=r"damaged or cut off|cannot load it"):
        serve(cut, port=0)
    with pytest.raises(Refusal, match="needs an API key"):
        serve(gguf_file, host="0.0.0.0")
    with pytest.raises(Refusal, match="empty"):
        serve(gguf_file, keys=("",))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Refusal, match="cannot listen there"):
        serve(gguf_file, port=taken.getsockname()[1])


def test_a_model_that_the_engine_cannot_load_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    """Whole by its form, but the network it describes is not the one whose weights it holds."""
    wrong = tmp_path / "wrong.gguf"
    key = b"llama.block_count" + (4).to_bytes(4, "little")
    blob = gguf_file.read_bytes()
    assert key in blob
    wrong.write_bytes(blob.replace(key + (2).to_bytes(4, "little"), key + (3).to_bytes(4, "little")))
    with pytest.raises(Refusal, match=r"llama\.cpp cannot load it"):
        serve(wrong, port=0)


def test_chat_reads_a_pipe_and_says_the_notice_first(gguf_file: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    code = f"from pathlib import Path; from medloom.serve import chat; chat(Path({str(gguf_file)!r}), threads=1, max_tokens=5)"
    done = subprocess.run([sys.executable, "-c", code], input="Which drug?\n\nWhich fever?\nWhich drug?\n", capture_output=True,
                          text=True, timeout=30, env={**os.environ, "PYTHONPATH": str(source)}, check=True)
    answers = done.stdout.splitlines()
    assert len(answers) == 3  # one line a question; the empty line asks nothing
    assert answers[0] == answers[2]  # every question stands alone
    assert done.stderr.startswith(NOTICE)


def test_chat_in_a_terminal_ends_with_control_d(gguf_file: Path) -> None:
    import pty

    source = Path(__file__).resolve().parents[2] / "src"
    code = f"from pathlib import Path; from medloom.serve import chat; chat(Path({str(gguf_file)!r}), threads=1, max_tokens=5)"
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "PYTHONPATH": str(source)}) as process:
        os.close(theirs)
        os.write(ours, b"Which drug?\n\x04")
        out, said = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert b"press Ctrl-D to leave" in said
    assert len(out.strip()) > 0


@pytest.mark.parametrize("name", ["", "page.css", "page.js"])
def test_the_page_asks_nobody_else(server: Any, name: str) -> None:
    response = httpx.get(f"{server.url}/{name}")
    assert response.status_code == 200
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert len(response.content) < 20_000
    assert "default-src 'none'" in response.headers["content-security-policy"]
