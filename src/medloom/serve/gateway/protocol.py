"""HTTP as uvicorn speaks it through httptools, with an end to what a request may hold before its body: httptools itself knows none."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 1 << 16  # bytes of a request's line and headers
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection. What of a head has come is counted in reads, so that the limit is kept to within one of them."""

    _in_head = True
    _head = 0  # bytes of it, in reads that brought no end of a head or a body

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._in_head, self._head = False, -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is whole; the next one's head may come."""
        super().on_message_complete()
        self._in_head, self._head = True, -1

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        super().data_received(data)
        self._head = 0 if self._head < 0 else self._head + len(data)
        if self._in_head and self._head > HEAD_LIMIT and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()
