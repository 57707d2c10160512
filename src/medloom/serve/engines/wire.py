"""POST requests to a server on this machine, at a fraction of what a general client costs: a fresh connection each, closed with it.

An engine's road is walked by every request and every token, so that our own few lines are worth it here: httpx takes 1.5 ms of processor
time for a request and half of what a relayed token costs. llama.cpp's server closes kept connections whenever it likes, so none is kept.

What comes in quick succession is handed on together, so that a fast stream comes in 25 parts a second at most; a part is never held
longer than that, the first and the last one not at all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from .engine import Broken

CONNECT = 5.0  # seconds
WINDOW = 0.04  # seconds
LAST_CHUNK = b"0\r\n\r\n"
GONE = "the engine broke off; it is being started again"


class _Connection(asyncio.Protocol):
    """What has come and is not read yet: `held`."""

    def __init__(self) -> None:
        self.held = bytearray()
        self._over = self._patient = False
        self._waiting: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.held += data
        if not self._patient or data.endswith(LAST_CHUNK):
            self._wake()

    def eof_received(self) -> None:
        self._over = True
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._over = True
        self._wake()

    async def more(self, window: float = 0.0) -> None:
        """Wait until more has come; for `window` seconds at least, unless it is the end. Raises Broken where nothing more will come."""
        before = len(self.held)
        if window and not self._over:
            timer = asyncio.get_running_loop().call_later(window, self._wake)
            self._patient = True
            try:
                await self._woken()
            finally:
                self._patient = False
                timer.cancel()
        while len(self.held) == before:
            if self._over:
                raise Broken(GONE)
            await self._woken()

    async def until(self, mark: bytes) -> bytes:
        """What comes before a mark, which is taken off too."""
        while (end := self.held.find(mark)) < 0:
            await self.more()
        return self.take(end, len(mark))

    def take(self, size: int, after: int = 0) -> bytes:
        """The first bytes of what has come; `after`: further bytes that are dropped."""
        found = bytes(self.held[:size])
        del self.held[:size + after]
        return found

    async def _woken(self) -> None:
        self._waiting = asyncio.get_running_loop().create_future()
        await self._waiting

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Response:
    """An answer whose head has come: `status`, and the body, once."""

    def __init__(self, connection: _Connection, head: bytes) -> None:
        self.status = int(head[9:12])
        self._connection, self._head = connection, head.lower() + b"\r\n"

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body, as it comes."""
        if b"\r\ntransfer-encoding: chunked\r\n" in self._head:
            async for part in self._chunks():
                yield part
            return
        length = int(self._head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        while len(self._connection.held) < length:
            await self._connection.more()
        yield self._connection.take(length)

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Chunked coding (RFC 9112, 7.1)."""
        held, window = self._connection.held, 0.0
        while True:
            parts: list[bytes] = []
            at, size = 0, -1
            while size and (end := held.find(b"\r\n", at)) >= 0:
                size = int(held[at:end], 16)
                if len(held) < end + size + 4:
                    break
                parts.append(bytes(held[end + 2:end + 2 + size]))
                at = end + size + 4
            del held[:at]
            if parts:
                yield b"".join(parts)
                window = WINDOW
            if size == 0:
                return
            await self._connection.more(window)

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([part async for part in self.parts()])


@asynccontextmanager
async def posted(url: str, path: str, body: dict[str, Any], key: str) -> AsyncIterator[Response]:
    """The answer to a POST of JSON; the connection is cut with the block. Raises Broken where it fails, in the block too."""
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    data = json.dumps(body).encode()
    with _broken():
        async with asyncio.timeout(CONNECT):
            transport, connection = await asyncio.get_running_loop().create_connection(_Connection, host, int(port))
        try:
            transport.write((f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                             f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n").encode() + data)
            yield Response(connection, await connection.until(b"\r\n\r\n"))
        finally:
            transport.abort()


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The data of server-sent events: with each item those that came in one part. Raises Broken for an event that is an error."""
    held = b""
    async for part in parts:
        *lines, held = (held + part).split(b"\n")
        batch = [line[6:].rstrip(b"\r") for line in lines if line[:6] == b"data: "]
        if part.startswith(b"error: "):
            raise Broken("the engine failed while it wrote the answer")
        if batch:
            yield batch


@contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, ValueError):
        raise Broken(GONE) from None
