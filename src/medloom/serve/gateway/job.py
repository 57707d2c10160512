"""A response that is a job: it runs until it is done or its client has gone, and sends one body or a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from medloom.web import json_body

from .answers import ApiError, sse
from .schema import explain

BODY_LIMIT = 1 << 20
GONE = "medloom.gone"  # what a scope holds once its client has left
_Form = TypeVar("_Form", bound=BaseModel)


class Outlet:
    """Where a job sends what it has: one JSON body, or events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = self.ended = False

    async def json(self, value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        """The whole answer."""
        self.started = self.ended = True
        body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        more = [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *more]})
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, data: bytes, *, last: bool = False) -> None:
        """Some of a stream; its end where it is the last."""
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        self.ended = last
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})


class Job(Response):
    """Runs `work` with an outlet."""

    def __init__(self, work: Callable[[Outlet], Coroutine[Any, Any, None]]) -> None:
        super().__init__()
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the work sends."""
        outlet = Outlet(send)
        scope[GONE] = await _while_connected(receive, self._run(outlet), outlet)

    async def _run(self, outlet: Outlet) -> None:
        try:
            await self._work(outlet)
        except ApiError as error:
            if outlet.started:  # the status is long gone; the stream says it, and has no [DONE]
                await outlet.event(sse(error.body()), last=True)
            else:
                await outlet.json(error.body(), error.status, error.headers())


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None], outlet: Outlet) -> bool:
    """Run `work`, and cancel it when the client goes away first; whether it did."""
    task, left = asyncio.current_task(), False
    assert task is not None

    async def watch() -> None:
        nonlocal left
        while (await receive())["type"] != "http.disconnect":
            pass
        if not outlet.ended:  # the end of an answer looks the same from here
            left = True
            task.cancel()

    watching = asyncio.create_task(watch())
    try:
        await work
    except asyncio.CancelledError:
        if not left:
            raise
        task.uncancel()
    except OSError:  # a client that left between two sends
        left = True
    finally:
        watching.cancel()
    return left


async def read_body(request: Request, form: type[_Form]) -> _Form:
    """The body as `form`; 400 for what the form refuses, and as `json_body` does."""
    body = await json_body(request, BODY_LIMIT)
    try:
        return form.model_validate_json(body)
    except ValidationError as error:
        message, field = explain(error)
        raise ApiError(400, message, param=field) from None
