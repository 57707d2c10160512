"""`medloom serve`: the gateway on a socket, the engine behind it, from the first load to the last drained stream."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from medloom.ledger import Refusal
from medloom.model.gguf_file import gguf_digest
from medloom.notice import NOTICE_SHORT
from medloom.web import address, listen

from .engine import Engine, describe
from .gateway import Gateway

LARGEST_CONTEXT = 4096
DRAIN_SECONDS = 30.0


def serve(model: Path, *, host: str = "127.0.0.1", port: int = 8000, keys: Sequence[str] = (), threads: int | None = None,
          context: int | None = None, slots: int = 4, queue: int = 16) -> None:
    """Serve the GGUF file `model` until SIGTERM or Ctrl-C, then let the streams under way end, and return.

    context: tokens of one request, prompt and answer together (by default the model's own, at most 4096); slots: requests
    that run at once; queue: how many more may wait; keys: any one of them opens the API, none leaves it open, which beyond
    loopback is refused; port 0 takes a free one. The address goes to standard error once it answers. Raises Refusal for a model that cannot
    be loaded, a port that is taken, or settings that cannot be.
    """
    model = Path(model)
    if slots < 1 or queue < 0 or (context is not None and context < 8) or (threads is not None and threads < 1):
        raise Refusal(f"serve: slots = {slots}, queue = {queue}, context = {context}, threads = {threads}: give at least 1, 0, 8 and 1")
    if any(not key.strip() for key in keys):
        raise Refusal("serve: an API key is empty; leave it out, or give a long random one")
    if not keys and not _loopback(host):
        raise Refusal(f"{host}: others can reach this address, so the server needs an API key; add one, or listen on 127.0.0.1")
    said = describe(model)
    listener = listen(host, port)
    engine = Engine(model, context=min(context or LARGEST_CONTEXT, said["context"]), slots=slots, threads=threads)
    facts: dict[str, Any] = {"name": said["name"], "file": model.name, "bytes": model.stat().st_size}
    digest = threading.Thread(target=lambda: facts.update(sha256=gguf_digest(model)), daemon=True)
    try:
        digest.start()
        engine.start()
        digest.join()
        gateway = Gateway(engine, model.stem, facts, has_template=bool(said["chat_template"]), keys=keys, queue=queue)
        server = _Server(gateway, address(listener, host))
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
        engine.stop()


class _Server(uvicorn.Server):
    """uvicorn that, when told to end, keeps answering (503 to new requests) until the old ones are done."""

    def __init__(self, gateway: Gateway, address: str) -> None:
        # No access log: what was asked, and by whom, is nobody's business.
        super().__init__(uvicorn.Config(gateway.application(), log_level="warning", access_log=False, server_header=False,
                                        ws="none", timeout_graceful_shutdown=5, lifespan="on"))
        self._gateway, self._address = gateway, address
        self._told = False
        self._drain: asyncio.Task[None] | None = None  # held, or it might be collected half-way
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(f"{NOTICE_SHORT}\nServing {self._gateway.model} at {self._address}  (Ctrl-C ends it)\n")
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
        await self._gateway.drained(DRAIN_SECONDS)
        self.should_exit = True


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
