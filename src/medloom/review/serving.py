"""`medloom review serve`: the study's pages until SIGTERM or Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn

from ..ledger import Refusal
from ..web import address, listen
from .generate import unanswered
from .store import Store
from .web import Web


def serve(store: Store, *, host: str = "127.0.0.1", port: int = 8100, started: Callable[[str, str], None]) -> None:
    """Serve a study. `started` is told its address and that of the operator's page once it answers. Port 0 takes a free one.

    Raises Refusal where answers are missing, or the port is taken.
    """
    owed = unanswered(store)
    if owed:
        told = ", ".join(f"{count} of {name}" for name, count in owed.items())
        raise Refusal(f"{store.folder}: answers are missing ({told}); write them with: medloom review generate {store.folder}")
    listener = listen(host, port)
    web, place = Web(store), address(listener, host)
    try:
        # No access log: who judged what, and when, is nobody's business.
        server = _Server(uvicorn.Config(web.application(), log_level="warning", access_log=False, server_header=False, ws="none",
                                        lifespan="off", timeout_graceful_shutdown=5),
                         lambda: started(place, f"{place}operator#{web.operator}"))
        server.run(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where."""
        await super().startup(sockets)
        if self.started:
            self._tell()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: answer what is under way, and end. Second: end now. uvicorn's own way would raise the signal again at the end."""
        self.force_exit = self.should_exit
        self.should_exit = True
