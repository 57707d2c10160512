"""What the gateway and the review share of the web."""

from __future__ import annotations

import asyncio
import socket

from medloom.web import listen


def test_small_writes_are_sent_at_once() -> None:
    """Nagle's algorithm is off for every connection that asyncio takes from the socket; on, an answer in two writes takes 40 ms longer."""
    async def taken() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        class Taker(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                found.set_result(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

        listener = listen("127.0.0.1", 0)
        async with await asyncio.get_running_loop().create_server(Taker, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            delays = await found
            writer.close()
        return delays

    assert asyncio.run(taken())
