"""The gateway: OpenAI's API in front of an engine, and the page.

Everything that a request does happens in one task that ends when its client goes away, wherever it is by then: in the
queue, before the first token, or in the middle of a stream. Errors are OpenAI's in form; a client's fault is never a 5xx.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from medloom.notice import NOTICE
from medloom.web import WithHeaders, page_routes

from .admission import Admission, Full, Late
from .answers import Answer, ApiError, completion_body, sse
from .engine import Engine
from .schema import ChatRequest, CompletionRequest, Sampling, explain
from .template import PLAIN_FORM, PLAIN_NAME, PLAIN_STOPS, Turn, plain

PAGE = Path(__file__).parent / "page"
BODY_LIMIT = 1 << 20
DEFAULT_TOKENS = 256
class Gateway:
    """The application. `model` is what clients call the model; `facts` goes into /v1/models beside it."""

    def __init__(self, engine: Engine, model: str, facts: dict[str, Any], *, has_template: bool, keys: Sequence[str] = (),
                 queue: int = 16, patience: float = 60.0) -> None:
        self.engine, self.model, self.has_template = engine, model, has_template
        self.admission = Admission(engine.slots, queue, patience)
        self.draining = False
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys]
        self._created = int(time.time())
        template = {"name": "file", "form": "the chat template in the model file", "stop": []} if has_template else \
            {"name": PLAIN_NAME, "form": PLAIN_FORM, "stop": list(PLAIN_STOPS)}
        self._facts = {**facts, "context": engine.context, "template": template, "notice": NOTICE}
        # llama.cpp's server closes a kept connection whenever it likes; a fresh one on loopback costs less than a failed request.
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5), trust_env=False,
                                         limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                                         headers={"Authorization": f"Bearer {engine.key}"})

    def application(self) -> ASGIApp:
        """The ASGI application, which supervises the engine as long as it runs."""
        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/models", self._models, methods=["GET"]),
            Route("/v1/models/{name}", self._models, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            *page_routes(PAGE, {"/": "index.html"}),
        ]
        handlers: dict[Any, Any] = {HTTPException: _refused, ApiError: _failed}
        return WithHeaders(Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        supervisor = asyncio.create_task(self.engine.supervise())
        try:
            yield
        finally:
            supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await supervisor
            await self._client.aclose()

    async def drained(self, deadline: float) -> None:
        """Turn new requests away and wait until those under way have ended, at most `deadline` seconds."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while self.admission.running or self.admission.waiting:
                    await asyncio.sleep(0.02)

    async def _health(self, _: Request) -> Response:
        state = "draining" if self.draining else "ok" if self.engine.ready else "loading"
        return JSONResponse({"status": state}, 200 if state == "ok" else 503)

    async def _models(self, request: Request) -> Response:
        self._authorise(request)
        entry = {"id": self.model, "object": "model", "created": self._created, "owned_by": "medloom", "metadata": self._facts}
        wanted = request.path_params.get("name")
        if wanted is None:
            return JSONResponse({"object": "list", "data": [entry]})
        self._check_name(wanted)
        return JSONResponse(entry)

    async def _completions(self, request: Request) -> Response:
        self._authorise(request)
        asked = await _read(request, CompletionRequest)
        return self._respond(asked, chat=False, limit=asked.max_tokens, prompt=asked.prompt)

    async def _chat(self, request: Request) -> Response:
        self._authorise(request)
        asked = await _read(request, ChatRequest)
        if asked.messages[-1].role != "user":
            raise ApiError(400, "messages: the last one must be the user's", param="messages")
        turns = [Turn(role=message.role, content=message.text) for message in asked.messages]
        return self._respond(asked, chat=True, limit=asked.max_completion_tokens or asked.max_tokens, prompt=turns)

    def _respond(self, asked: Sampling, *, chat: bool, limit: int | None, prompt: str | list[Turn]) -> Response:
        self._check_name(asked.model)
        if limit is not None and limit > self.engine.context:
            raise ApiError(400, f"max_tokens: {limit} is more than the context of {self.engine.context} tokens", param="max_tokens")
        stops = asked.stops
        if chat and not self.has_template:
            stops = [*stops, *PLAIN_STOPS]
        settings = {
            "n_predict": limit or min(DEFAULT_TOKENS, self.engine.context), "temperature": asked.temperature, "top_p": asked.top_p,
            "top_k": 0, "min_p": 0.0, "presence_penalty": asked.presence_penalty, "frequency_penalty": asked.frequency_penalty,
            "stop": stops, "stream": asked.stream, "cache_prompt": True, **({} if asked.seed is None else {"seed": asked.seed}),
        }
        usage = asked.stream_options is not None and asked.stream_options.include_usage
        answer = Answer(self.model, chat=chat, trim=chat and not self.has_template)
        return _Work(lambda reply: self._generate(answer, settings, prompt, reply, usage=usage))

    async def _generate(self, answer: Answer, settings: dict[str, Any], prompt: str | list[Turn], reply: _Reply, *, usage: bool) -> None:
        if self.draining:
            raise ApiError(503, "the server is shutting down", retry=5)
        if not self.engine.ready:
            raise ApiError(503, "the engine is starting; try again in a moment", retry=1)
        try:
            async with self.admission.slot():
                body = {**settings, "prompt": prompt if isinstance(prompt, str) else await self._templated(prompt)}
                if settings["stream"]:
                    await self._stream(answer, body, reply, usage)
                else:
                    await self._whole(answer, body, reply)
        except Full:
            raise ApiError(429, "the server is busy and its queue is full; try again in a moment", retry=1) from None
        except Late:
            raise ApiError(503, "no slot became free in time; try again later", retry=5) from None
        except httpx.HTTPError:
            raise ApiError(502, "the engine broke off; it is being started again", retry=1) from None

    async def _templated(self, turns: list[Turn]) -> str:
        if not self.has_template:
            return plain(turns)
        response = await self._client.post(f"{self.engine.url}/apply-template", json={"messages": turns})
        return str(_checked(response.status_code, response.content)["prompt"])

    async def _whole(self, answer: Answer, body: dict[str, Any], reply: _Reply) -> None:
        response = await self._client.post(f"{self.engine.url}/completion", json=body)
        await reply.json(completion_body(answer, _checked(response.status_code, response.content)))

    async def _stream(self, answer: Answer, body: dict[str, Any], reply: _Reply, usage: bool) -> None:
        async with self._client.stream("POST", f"{self.engine.url}/completion", json=body) as response:
            if response.status_code != 200:
                _checked(response.status_code, await response.aread())
            ended = False
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    if line.startswith("error: "):
                        raise ApiError(502, "the engine failed while it wrote the answer")
                    continue
                for event in answer.chunks(line[6:], usage):
                    await reply.event(event)
                ended = ended or answer.ended
            if not ended:
                raise httpx.RemoteProtocolError("the stream ended early")
            await reply.event(sse("[DONE]"))
            await reply.end()

    def _authorise(self, request: Request) -> None:
        if not self._keys:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, in constant time, so that the time taken tells nothing of any.
        known = sum(hmac.compare_digest(digest, key) for key in self._keys)
        if scheme.lower() != "bearer" or not known:
            raise ApiError(401, "no valid API key; send Authorization: Bearer KEY", code="invalid_api_key")

    def _check_name(self, name: str | None) -> None:
        if name is not None and name != self.model:
            raise ApiError(404, f"model: there is no {name[:100]!r} here; this server has {self.model!r}", param="model",
                           code="model_not_found")


class _Reply:
    """What a job sends: one JSON body, or events until `end`."""

    def __init__(self, send: Send) -> None:
        self._send, self.started = send, False

    async def json(self, value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.started = True
        response = JSONResponse(value, status, headers)
        await self._send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": response.body})

    async def event(self, data: bytes) -> None:
        if not self.started:
            self.started = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


_Job = Callable[[_Reply], Awaitable[None]]
_Form = TypeVar("_Form", bound=Sampling)


class _Work(Response):
    """A response that is a job: it runs until it is done or its client has gone."""

    def __init__(self, job: _Job) -> None:
        super().__init__()
        self._job = job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _while_connected(receive, self._run(_Reply(send)))

    async def _run(self, reply: _Reply) -> None:
        try:
            await self._job(reply)
        except ApiError as error:
            if reply.started:  # the status is long gone; the stream says it, and has no [DONE]
                await reply.event(sse(error.body()))
                await reply.end()
            else:
                await reply.json(error.body(), error.status, error.headers())


async def _while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, and cancel it when the client goes away first."""
    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, watch = asyncio.create_task(work), asyncio.create_task(gone())
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):  # OSError: a client that left between two sends
            await task


async def _read(request: Request, form: type[_Form]) -> _Form:
    """The body as `form`; 413 before more than the limit is held, 415 for another kind of content, 400 for what the form refuses."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "send the body as application/json")
    held = bytearray()
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BODY_LIMIT:
        raise ApiError(413, f"the body is longer than {BODY_LIMIT} bytes")
    try:
        async for chunk in request.stream():
            held += chunk
            if len(held) > BODY_LIMIT:
                raise ApiError(413, f"the body is longer than {BODY_LIMIT} bytes")
    except ClientDisconnect:
        raise ApiError(400, "the body broke off") from None
    try:
        return form.model_validate_json(bytes(held))
    except ValidationError as error:
        message, field = explain(error)
        raise ApiError(400, message, param=field) from None


def _checked(status: int, content: bytes) -> dict[str, Any]:
    """The engine's JSON, or what its refusal means for the client."""
    try:
        body = json.loads(content)
    except ValueError:
        raise ApiError(502, "the engine's answer cannot be read") from None
    if status == 200 and isinstance(body, dict):
        return body
    error = body.get("error", {}) if isinstance(body, dict) else {}
    if status == 400 and error.get("type") == "exceed_context_size_error":
        raise ApiError(400, f"the prompt has {error.get('n_prompt_tokens')} tokens; the context is {error.get('n_ctx')}, answer included",
                       code="context_length_exceeded")
    if status == 400:
        raise ApiError(400, str(error.get("message", "the engine refuses the request")))
    if status == 503:
        raise ApiError(503, "the engine is starting; try again in a moment", retry=1)
    raise ApiError(502, "the engine failed")


async def _refused(_: Request, error: HTTPException) -> Response:
    api = ApiError(error.status_code, str(error.detail))
    return JSONResponse(api.body(), api.status, {**api.headers(), **(error.headers or {})})


async def _failed(_: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, error.headers())
