"""POST requests to a server on this machine, at a fraction of what a general client costs: a fresh connection each, closed with it.

An engine's road is walked by every request and every token, so that our own few lines are worth it here: httpx takes 1.5 ms of processor
time for a request and half of what a relayed token costs. llama.cpp's server closes kept connections whenever it likes, so none is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from .engine import Broken

CONNECT = 5.0  # seconds
HEAD_LIMIT = 1 << 16
GONE = "the engine broke off; it is being started again"


class Response:
    """An answer whose head has come: `status`, and the body, once."""

    def __init__(self, reader: asyncio.StreamReader, head: bytes) -> None:
        self.status = int(head[9:12])
        self._reader, self._head = reader, head.lower()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body, as it comes."""
        if b"\r\ntransfer-encoding: chunked" in self._head:
            async for part in self._chunks():
                yield part
        elif b"\r\ncontent-length: " in self._head:
            yield await self._reader.readexactly(int(self._head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n", 1)[0]))
        else:
            yield await self._reader.read()

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Chunked coding (RFC 9112, 7.1): what comes in one read goes on in one part."""
        held = b""
        while data := await self._reader.read(HEAD_LIMIT):
            held += data
            parts: list[bytes] = []
            at = 0
            while (end := held.find(b"\r\n", at)) >= 0:
                size = int(held[at:end].partition(b";")[0], 16)
                if len(held) < end + 2 + size + 2:
                    break
                if size == 0:
                    yield b"".join(parts)
                    return
                parts.append(held[end + 2:end + 2 + size])
                at = end + 2 + size + 2
            held = held[at:]
            if parts:
                yield b"".join(parts)
        raise Broken(GONE)

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
            reader, writer = await asyncio.open_connection(host, int(port), limit=HEAD_LIMIT)
        try:
            writer.write((f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
                          f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n").encode() + data)
            yield Response(reader, await reader.readuntil(b"\r\n\r\n"))
        finally:
            writer.transport.abort()


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes], None]:
    """The data of server-sent events: with each item those that came in one part. Raises Broken for an event that is an error."""
    held = b""
    async for part in parts:
        *lines, held = (held + part).split(b"\n")
        batch = [line[6:].strip() for line in lines if line.startswith(b"data: ")]
        if any(line.startswith(b"error: ") for line in lines):
            raise Broken("the engine failed while it wrote the answer")
        if batch:
            yield batch


@contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise Broken(GONE) from None
