"""The gateway: OpenAI's API in front of engines, and the page.

Everything that a request does happens in one task that ends when its client goes away, wherever it is by then: in the
queue, before the first token, or in the middle of a stream. Errors are OpenAI's in form; a client's fault is never a 5xx.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import struct
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medloom.addresses import is_loopback
from medloom.web import WithHeaders, page_routes

from ..engines import Ask, Turn
from ..keys import Key, Keyring, Spent
from ..models import Model
from .answering import Answering, full, slot_of
from .answers import ApiError
from .job import GONE, Job, Outlet, read_body
from .metrics import TYPE, Metrics
from .schema import ChatRequest, CompletionRequest, EmbeddingRequest, Sampling, StreamOptions

PAGE = Path(__file__).parents[1] / "page"
DEFAULT_TOKENS = 256
PLACES = "x-medloom-queue"


class Gateway:
    """The application that serves `models` to those who hold one of `keys`."""

    def __init__(self, models: Sequence[Model], keys: Keyring | None = None) -> None:
        self.models = {model.name: model for model in models}
        self.keys = keys or Keyring()
        self.metrics = Metrics(models)
        self.draining = False

    def application(self) -> ASGIApp:
        """The ASGI application, which supervises the engines as long as it runs."""
        routes = [
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            Route("/v1/models", self._list, methods=["GET"]),
            Route("/v1/models/{name:path}", self._list, methods=["GET"]),
            Route("/health", self._health, methods=["GET"]),
            Route("/ready", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
            *page_routes(PAGE, {"/": "index.html"}),
        ]
        handlers: dict[Any, Any] = {HTTPException: _refused, ApiError: _failed}
        starlette = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        return WithHeaders(_Counted(starlette, self.metrics, {route.path for route in routes}))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        supervisors = [asyncio.create_task(model.engine.supervise()) for model in self.models.values()]
        try:
            yield
        finally:
            for supervisor in supervisors:
                supervisor.cancel()
            await asyncio.gather(*supervisors, return_exceptions=True)

    async def drained(self, deadline: float) -> None:
        """Turn new requests away and wait until those under way have ended, at most `deadline` seconds."""
        self.draining = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while any(model.admission.running or model.admission.waiting for model in self.models.values()):
                    await asyncio.sleep(0.02)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "draining" if self.draining else "ok"}, 503 if self.draining else 200)

    async def _ready(self, _: Request) -> Response:
        states = {name: "ready" if model.engine.ready else "loading" for name, model in self.models.items()}
        state = "draining" if self.draining else "loading" if "loading" in states.values() else "ok"
        told = {"models": states} if self.keys.open else {}  # what there is, is for those who have a key
        return JSONResponse({"status": state, **told}, 200 if state == "ok" else 503)

    async def _metrics(self, request: Request) -> Response:
        self._authorise(request)
        return Response(self.metrics.text(), media_type=TYPE)

    async def _list(self, request: Request) -> Response:
        self._authorise(request)
        wanted = request.path_params.get("name")
        if wanted is not None:
            return JSONResponse(self._model(wanted).entry)
        return JSONResponse({"object": "list", "data": [model.entry for model in self.models.values()]})

    async def _completions(self, request: Request) -> Response:
        key = self._authorised_and_welcome(request)
        asked = await read_body(request, CompletionRequest)
        model = self._model(asked.model)
        limit = self._limit(model, asked.max_tokens)
        asks = [_ask(asked, prompt, limit, number, asked.stops, asked.logprobs, echo=asked.echo)
                for prompt in asked.prompts for number in range(asked.n)]
        return self._answer(request, key, model, asked, asks)

    async def _chat(self, request: Request) -> Response:
        key = self._authorised_and_welcome(request)
        asked = await read_body(request, ChatRequest)
        model = self._model(asked.model)
        limit = self._limit(model, asked.max_completion_tokens or asked.max_tokens)
        turns: list[Turn] = [{"role": message.role, "content": message.text} for message in asked.messages]
        try:
            prompt = model.prompt(turns)
        except ValueError as error:
            raise ApiError(400, f"messages: {error}", param="messages") from None
        logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
        asks = [_ask(asked, prompt, limit, number, (*asked.stops, *model.template.stop), logprobs) for number in range(asked.n)]
        return self._answer(request, key, model, asked, asks, turns)

    async def _embeddings(self, request: Request) -> Response:
        key = self._authorised_and_welcome(request)
        asked = await read_body(request, EmbeddingRequest)
        model = self._model(asked.model)

        async def work(outlet: Outlet) -> None:
            async with slot_of(model, self.metrics):
                vectors, read = await model.engine.embed(asked.texts)
            self.metrics.read.labels(model.name).inc(read)
            coded = vectors if asked.encoding_format == "float" else \
                [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]
            data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(coded)]
            await outlet.json({"object": "list", "model": model.name, "data": data, "usage": {"prompt_tokens": read, "total_tokens": read}})

        return self._job(key, work)

    def _authorised_and_welcome(self, request: Request) -> Key | None:
        """Whose request it is; 503 or 429 before its body is read where it could not be taken in any case."""
        key = self._authorise(request)
        if self.draining:
            raise ApiError(503, "the server is shutting down", retry=5)
        if all(model.admission.full for model in self.models.values()):
            raise full()
        return key

    def _answer(self, request: Request, key: Key | None, model: Model, asked: Sampling, asks: list[Ask],
                turns: list[Turn] | None = None) -> Response:
        answering = Answering(model, asks, self.metrics, turns=turns, counts=asked.stream_options or StreamOptions(),
                              places=request.headers.get(PLACES) == "places")
        return self._job(key, answering.stream if asked.stream else answering.whole)

    def _job(self, key: Key | None, work: Callable[[Outlet], Coroutine[Any, Any, None]]) -> Response:
        async def within_limits(outlet: Outlet) -> None:
            with self._counted(key):
                await work(outlet)

        return Job(within_limits)

    @contextlib.contextmanager
    def _counted(self, key: Key | None) -> Iterator[None]:
        if key is None:
            yield
            return
        try:
            self.keys.enter(key)
        except Spent as spent:
            raise ApiError(429, f"this key may send {spent.limit}; try again later", code="key_limit", retry=spent.seconds) from None
        try:
            yield
        finally:
            self.keys.leave(key)

    def _authorise(self, request: Request) -> Key | None:
        """Whose request it is, None where nobody needs a key: then only this machine may ask, by a name of its own."""
        if self.keys.open:
            host = re.sub(r":\d*$", "", request.headers.get("host", "localhost"))
            if not is_loopback(host):  # a page of somebody else's, whose name was made to lead here
                raise ApiError(403, f"this server has no API key, so it does not answer as {host[:100]!r}; give it a key, or ask 127.0.0.1")
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        key = self.keys.find(given) if scheme.lower() == "bearer" else None
        if key is None:
            raise ApiError(401, "no valid API key; send Authorization: Bearer KEY", code="invalid_api_key")
        return key

    def _model(self, name: str | None) -> Model:
        if name is None and len(self.models) == 1:
            return next(iter(self.models.values()))
        if name is None:
            raise ApiError(400, f"model: this server has several; name one of {', '.join(self.models)}", param="model")
        if name not in self.models:
            raise ApiError(404, f"model: there is no {name[:100]!r} here; this server has {', '.join(self.models)}", param="model",
                           code="model_not_found")
        return self.models[name]

    def _limit(self, model: Model, asked: int | None) -> int:
        context = model.engine.context
        if asked is not None and context is not None and asked > context:
            raise ApiError(400, f"max_tokens: {asked} is more than the context of {context} tokens", param="max_tokens")
        return min(DEFAULT_TOKENS, context or DEFAULT_TOKENS) if asked is None else asked


class _Counted:
    """Counts responses by their status."""

    def __init__(self, application: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._application, self._metrics, self._paths = application, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = "left"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._application(scope, receive, watched if scope["type"] == "http" else send)
        finally:
            if scope["type"] == "http":
                path = scope["path"] if scope["path"] in self._paths else "other"
                self._metrics.requests.labels(path, "left" if scope.get(GONE) else status).inc()


def _ask(asked: Sampling, prompt: str | list[int] | Sequence[Turn], limit: int, number: int, stop: tuple[str, ...], logprobs: int | None,
         echo: bool = False) -> Ask:
    """What the engine is asked for the `number`th answer to a prompt."""
    return Ask(prompt, limit, asked.temperature, asked.top_p, asked.presence_penalty, asked.frequency_penalty, stop,
               None if asked.seed is None else (asked.seed + number) % 2**32, logprobs, echo, tuple((asked.logit_bias or {}).items()))


async def _refused(_: Request, error: HTTPException) -> Response:
    api = ApiError(error.status_code, str(error.detail))
    return JSONResponse(api.body(), api.status, {**api.headers(), **(error.headers or {})})


async def _failed(_: Request, error: ApiError) -> Response:
    return JSONResponse(error.body(), error.status, error.headers())
