"""`medloom serve`: the gateway on a socket, the engine behind it, from the first load to the last drained stream."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import uvicorn

from medloom.addresses import is_loopback
from medloom.ledger import Refusal
from medloom.notice import NOTICE_SHORT
from medloom.web import address, listen

from .gateway import Gateway, Protocol
from .keys import Keyring
from .offers import Offer, Settings, distinct, open_models, start

DRAIN_SECONDS = 30.0


def serve(models: Path | Sequence[Offer], settings: Settings | None = None, *, host: str = "127.0.0.1", port: int = 8000,
          keys: Sequence[str] = (), key_file: Path | None = None, drain: float = DRAIN_SECONDS) -> None:
    """Serve models, or one GGUF file, until SIGTERM or Ctrl-C; then let the answers under way end, for at most `drain` seconds, and return.

    keys: any one of them, or of those in `key_file`, opens the API; none leaves it open, which beyond loopback is refused; port 0 takes a
    free one. The address goes to standard error once it answers. Raises Refusal for a model that cannot be loaded, a port that is taken,
    or settings that cannot be.
    """
    keyring = Keyring(keys, key_file)
    if keyring.open and not is_loopback(host):
        raise Refusal(f"{host}: others can reach this address, so the server needs an API key; make one with medloom keys add NAME "
                      "--keys FILE and give --keys FILE, or listen on 127.0.0.1")
    opened = open_models([Offer(models.stem, models)] if isinstance(models, Path) else models, settings or Settings())
    listener = listen(host, port)
    try:
        with ThreadPoolExecutor(len(opened)) as pool:
            try:
                for started in [pool.submit(start, model) for model in opened]:
                    started.result()
            except BaseException:  # the pool waits for all, and a large model may load for minutes
                for model in opened:
                    model.engine.stop()
                raise
        distinct([model.name for model in opened])
        server = _Server(Gateway(opened, keyring), address(listener, host), drain)
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        for model in opened:
            model.engine.stop()


class _Server(uvicorn.Server):
    """uvicorn that, when told to end, keeps answering (503 to new requests) until the old ones are done."""

    def __init__(self, gateway: Gateway, address: str, drain: float) -> None:
        # No access log: what was asked, and by whom, is nobody's business.
        super().__init__(uvicorn.Config(gateway.application(), log_level="warning", access_log=False, server_header=False,
                                        proxy_headers=False,
                                        ws="none", http=Protocol, timeout_graceful_shutdown=5, lifespan="on"))
        self._gateway, self._address, self._seconds = gateway, address, drain
        self._told = False
        self._drain: asyncio.Task[None] | None = None  # held, or it might be collected half-way
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(f"{NOTICE_SHORT}\nServing {', '.join(self._gateway.models)} at {self._address}  (Ctrl-C ends it)\n")
            sys.stderr.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: end now. uvicorn's own way would close the door at once, and raise the signal again at the end."""
        if self._told or self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._told = True
        self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._drain = asyncio.create_task(self._end())

    async def _end(self) -> None:
        await self._gateway.drained(self._seconds)
        self.should_exit = True


def _loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one, which takes a third less of the processor for a token."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
