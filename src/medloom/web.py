"""What both servers, the model's and the review's, do alike: where they listen, what goes with every response, their pages' files."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .ledger import Refusal
from .notice import NOTICE_SHORT

HEADERS = [
    (b"x-medloom-notice", NOTICE_SHORT.encode("ascii")),
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                                 b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]

_KINDS = {".css": "text/css", ".js": "text/javascript"}


class WithHeaders:
    """An ASGI application whose every response carries the notice and the security headers."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._application(scope, receive, with_headers if scope["type"] == "http" else send)


def page_routes(folder: Path, pages: Mapping[str, str]) -> list[Route]:
    """What a browser asks for: `pages` (a file in `folder` by path), and, each under its name, the scripts and style sheets in `folder` and
    those that all pages share, web.css and web.js."""
    shared = Path(__file__).parent
    loose = [shared / "web.css", shared / "web.js", *sorted(path for path in folder.iterdir() if path.suffix in _KINDS)]
    files = {**{path: folder / name for path, name in pages.items()}, **{f"/{path.name}": path for path in loose}}
    return [Route(path, _file_at(file), methods=["GET"]) for path, file in files.items()]


def _file_at(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return FileResponse(path, media_type=_KINDS.get(path.suffix, "text/html"))

    return answer


async def json_body(request: Request, limit: int) -> bytes:
    """The body; 415 unless it says that it is JSON, 413 before more than `limit` bytes are held.

    A page of somebody else's can have a browser send anything but a body of that kind without asking first.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send the body as application/json")
    announced = request.headers.get("content-length", "")
    too_long = HTTPException(413, f"the body is longer than {limit} bytes")
    if announced.isdecimal() and int(announced) > limit:
        raise too_long
    held = bytearray()
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) > limit:
                raise too_long
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    return bytes(held)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, on a free port for port 0. Raises Refusal where it cannot."""
    if not 0 <= port <= 65535:
        raise Refusal(f"port {port}: give one between 0 and 65535")
    # Named TCP, or asyncio would leave Nagle's algorithm on: the second small write of an answer would wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise Refusal(f"{host}:{port}: cannot listen there ({error.strerror or error}); choose another port, or 0 for a free one") from None
    listener.setblocking(False)
    return listener


def address(listener: socket.socket, host: str) -> str:
    """The URL of what listens."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
