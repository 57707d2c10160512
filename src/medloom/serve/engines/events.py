"""Server-sent events of an engine, and what a connection's end means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx

from .engine import Broken


async def events(response: httpx.Response) -> AsyncIterator[list[bytes]]:
    """The data of a stream's events: with each item those that came in one read. Raises Broken for an event that is an error."""
    held = b""
    async for chunk in response.aiter_bytes():
        *lines, held = (held + chunk).split(b"\n")
        batch = [line[6:].strip() for line in lines if line.startswith(b"data: ")]
        if any(line.startswith(b"error: ") for line in lines):
            raise Broken("the engine failed while it wrote the answer")
        if batch:
            yield batch


@contextmanager
def reading() -> Iterator[None]:
    """What goes wrong with the connection to an engine is Broken."""
    try:
        yield
    except httpx.HTTPError:
        raise Broken("the engine broke off; it is being started again") from None
