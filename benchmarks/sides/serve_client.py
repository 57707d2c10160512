"""Clients of a server, light enough to share two cores with it: one process, one thread, asyncio's protocols over plain sockets.

    python -m sides.serve_client '{"url": ..., "path": ..., "bodies": [...], "clients": 16, "seconds": 5}'

Every request has a connection of its own, for llama.cpp's server closes kept ones as it likes. Nothing of an answer is parsed while it
comes; tokens are those that `usage` in its last bytes counts. Prints one JSON object of what came back and how long it took.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

BROKEN = 0  # the status of a request whose connection failed, or closed before an answer was whole
_COUNT = re.compile(rb'"completion_tokens": ?(\d+)')
_LENGTH = re.compile(rb"content-length: *(\d+)")


@dataclass(frozen=True)
class Answer:
    """What came of one request. `sent`: when, by perf_counter; `seconds`: until the whole of it was here; `body`: with its chunk sizes."""

    status: int
    sent: float
    seconds: float
    body: bytes = field(default=b"", repr=False)

    @property
    def tokens(self) -> int:
        """Tokens written, as the server counts them."""
        found = _COUNT.findall(self.body[-2000:])
        return int(found[-1]) if found else 0


class Exchange(asyncio.Protocol):
    """A request on a connection of its own, and all bytes that come back until the other side closes."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.sent = time.perf_counter()
        self.held = bytearray()
        self.some, self.closed = asyncio.Event(), asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send at once."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Only kept."""
        self.held += data
        self.some.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, good or bad: `answer` tells."""
        self.some.set()
        self.closed.set()

    def leave(self) -> None:
        """Close this side, whatever is under way."""
        if self.transport is not None:
            self.transport.close()

    def answer(self) -> Answer:
        """What has come so far, as an answer."""
        seconds = time.perf_counter() - self.sent
        head, _, body = bytes(self.held).partition(b"\r\n\r\n")
        first = head[:12].split(b" ")
        if len(first) < 2 or not first[1].isdigit():
            return Answer(BROKEN, self.sent, seconds, bytes(self.held))
        length = _LENGTH.search(head.lower())
        whole = len(body) == int(length[1]) if length else body.endswith(b"0\r\n\r\n")
        return Answer(int(first[1]) if whole else BROKEN, self.sent, seconds, body)


def request_bytes(url: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, method: str = "POST") -> bytes:
    """A whole HTTP request, which asks for its connection to be closed; `headers` go before those that it needs, and replace them."""
    lines = {"Host": urlsplit(url).netloc, "Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close",
             **(headers or {})}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + body


def completion(url: str, path: str = "/v1/completions", **fields: Any) -> bytes:
    """The request for a completion."""
    return request_bytes(url, path, json.dumps(fields).encode())


async def begin(url: str, request: bytes) -> Exchange:
    """Connect and send. Raises OSError where nobody listens."""
    where = urlsplit(url)
    _, exchange = await asyncio.get_running_loop().create_connection(lambda: Exchange(request), where.hostname, where.port)
    return exchange


async def ask(url: str, request: bytes, timeout: float = 120.0) -> Answer:
    """Send, and read until the server closes; one that fails or takes longer is BROKEN."""
    began = time.perf_counter()
    try:
        exchange = await begin(url, request)
    except OSError:
        return Answer(BROKEN, began, time.perf_counter() - began)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout):
            await exchange.closed.wait()
    answer = exchange.answer()
    exchange.leave()
    return answer


async def load(url: str, path: str, bodies: Sequence[Mapping[str, Any]], clients: int, seconds: float = 1e9, requests: int | None = None,
               pause: tuple[float, float] = (0.05, 0.2), seed: int = 0) -> list[tuple[int, Answer]]:
    """`clients` that each ask again and again, for `seconds` or until there were `requests`; after a refusal one waits a drawn pause.

    The bodies are asked in turn; an answer comes with the number of its body.
    """
    draw, ready = random.Random(seed), [request_bytes(url, path, json.dumps(body).encode()) for body in bodies]
    answers: list[tuple[int, Answer]] = []
    deadline, asked = time.perf_counter() + seconds, 0

    async def client() -> None:
        nonlocal asked
        while time.perf_counter() < deadline and (requests is None or asked < requests):
            which = asked % len(ready)
            asked += 1
            answer = await ask(url, ready[which])
            answers.append((which, answer))
            if answer.status != 200:
                await asyncio.sleep(draw.uniform(*pause))

    await asyncio.gather(*(client() for _ in range(clients)))
    return answers


def main() -> None:
    """The load that the command line describes."""
    began = time.perf_counter()
    answers = [answer for _, answer in asyncio.run(load(**json.loads(sys.argv[1])))]
    good = [answer for answer in answers if answer.status == 200]
    print(json.dumps({
        "wall": time.perf_counter() - began, "cpu": sum(os.times()[:2]), "requests": len(answers),
        "tokens": sum(one.tokens for one in good),
        "seconds": [one.seconds for one in good], "refused": [one.seconds for one in answers if one.status == 429],
        "broken": sum(one.status == BROKEN for one in answers), "others": sorted({one.status for one in answers} - {200, 429, BROKEN})}))


if __name__ == "__main__":
    main()
