"""Any server with OpenAI's API (vLLM, SGLang, another of ours) as an engine, by its address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import httpx

from medloom.addresses import server_address
from medloom.ledger import Refusal

from .engine import Ask, Broken, Busy, Piece, Refused, Scored, Starting, Turn, Unable, Written, decoded
from .wire import events

log = logging.getLogger("medloom.serve")
LOOK = 2.0  # seconds between two looks at whether it is there
WAIT = 10.0  # seconds that it may take to say what it serves


class Upstream:
    """One model of a server. `model`: what the server calls it, by default its only one; `key`: sent as the bearer token.

    slots: requests that are sent to it at once; `told`: how many of the likeliest tokens such servers name at most.
    """

    kind = "upstream"
    told = 20
    control: tuple[str, ...] = ()

    def __init__(self, url: str, model: str | None = None, *, key: str | None = None, slots: int, context: int | None = None) -> None:
        parts = server_address(url)
        self.url, self.model, self.slots, self.context = url.rstrip("/").removesuffix("/v1"), model, slots, context
        self.embeds = True
        self.restarts = 0
        self.said: dict[str, Any] = {}  # what the server says of the model
        self._key, self._secure = key, parts.scheme == "https"
        self.ready = False

    def start(self) -> None:
        """See Engine: reach it, and find the model."""
        try:
            with httpx.Client(headers=self._headers, timeout=WAIT, trust_env=self._secure) as client:
                response = client.get(f"{self.url}/v1/models")
        except httpx.HTTPError as error:
            raise Refusal(f"{self.url}: cannot be reached ({type(error).__name__}); start the server, or mend the address") from None
        if response.status_code in (401, 403):
            raise Refusal(f"{self.url}: does not take the key (HTTP {response.status_code}); set MEDLOOM_API_KEY to one that may use it")
        try:
            entries = response.json()["data"]
            known = {str(entry["id"]): entry for entry in entries}
        except (ValueError, KeyError, TypeError):
            raise Refusal(f"{self.url}: does not say what models it has (HTTP {response.status_code}); is it a server with OpenAI's API?"
                          ) from None
        if self.model is None and len(known) != 1:
            raise Refusal(f"{self.url}: serves {len(known)} models ({', '.join(known)}); name one, as in {self.url}#MODEL")
        self.model = self.model or next(iter(known))
        if self.model not in known:
            raise Refusal(f"{self.url}: has no model {self.model!r}; there is {', '.join(known)}")
        self.said = known[self.model]
        # vLLM's and SGLang's word for it, and ours.
        context = self.said.get("max_model_len") or (self.said.get("metadata") or {}).get("context")
        self.context = self.context or (context if isinstance(context, int) else None)
        self.ready = True

    async def supervise(self) -> None:
        """See Engine: looks every two seconds whether it is there."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                response = await self._client.get(f"{self.url}/v1/models", timeout=WAIT)
                there = response.status_code == 200
            except httpx.HTTPError:
                there = False
            if there and not self.ready:
                self.restarts += 1
            if there != self.ready:
                log.warning("%s: %s", self.url, "is back" if there else "is not there any more")
            self.ready = there

    def stop(self) -> None:
        """See Engine: it is not ours to stop."""
        self.ready = False

    async def stream(self, ask: Ask) -> AsyncGenerator[list[Piece], None]:
        """See Engine."""
        path, body = self._request(ask)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        reason: str | None = None
        with _reading():
            async with self._client.stream("POST", self.url + path, json=body) as response:
                if response.status_code != 200:
                    _checked(response, await response.aread())
                async for batch in events(response.aiter_bytes()):
                    pieces = []
                    for data in batch:
                        if data == b"[DONE]":
                            break
                        event = _event(data)
                        for choice in event.get("choices") or ():
                            pieces.append(Piece(_text(choice), _tokens(choice, ask)))
                            reason = choice.get("finish_reason") or reason
                        usage = event.get("usage")
                        if usage and reason:
                            pieces.append(Piece("", (), reason, int(usage["prompt_tokens"]), int(usage.get("completion_tokens", 0))))
                    if pieces:
                        yield pieces
                    if pieces and pieces[-1].reason:
                        return
        raise Broken("the engine broke off")

    async def whole(self, ask: Ask) -> Piece:
        """See Engine."""
        path, body = self._request(ask)
        found = await self._post(path, body)
        try:
            choice, usage = found["choices"][0], found.get("usage") or {}
            return Piece(_text(choice), _tokens(choice, ask), choice.get("finish_reason") or "stop", int(usage.get("prompt_tokens", 0)),
                         int(usage.get("completion_tokens", 0)))
        except (LookupError, TypeError, AttributeError):
            raise Broken("the engine's answer cannot be read") from None

    async def rendered(self, turns: Sequence[Turn]) -> str:
        """See Engine: it lays its template on by itself, and does not show it."""
        raise Unable("the server behind this one lays its chat template on by itself")

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """See Engine."""
        body = await self._post("/v1/embeddings", {"model": self.model, "input": list(texts)}, unable="the server behind this one makes no "
                                                                                                       "embeddings with this model")
        return [entry["embedding"] for entry in sorted(body["data"], key=lambda entry: int(entry["index"]))], body["usage"]["prompt_tokens"]

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        # A kept connection may close under a request; on a plain network a fresh one costs less than a failed request.
        kept = 100 if self._secure else 0
        return httpx.AsyncClient(timeout=httpx.Timeout(None, connect=5), trust_env=self._secure, headers=self._headers,
                                 limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept))

    def _request(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        body: dict[str, Any] = {
            "model": self.model, "max_tokens": ask.tokens, "temperature": ask.temperature, "top_p": ask.top_p,
            "presence_penalty": ask.presence, "frequency_penalty": ask.frequency, **({"stop": list(ask.stop)} if ask.stop else {}),
            **({"logit_bias": {str(token): value for token, value in ask.bias}} if ask.bias else {}),
            **({} if ask.seed is None else {"seed": ask.seed})}
        if not isinstance(ask.prompt, str) and not all(isinstance(part, int) for part in ask.prompt):
            told = {} if ask.logprobs is None else {"logprobs": True, "top_logprobs": ask.logprobs}
            return "/v1/chat/completions", {**body, "messages": list(ask.prompt), **told}
        told = {} if ask.logprobs is None else {"logprobs": ask.logprobs}
        return "/v1/completions", {**body, "prompt": ask.prompt, **told, **({"echo": True} if ask.echo else {})}

    async def _post(self, path: str, body: dict[str, Any], *, unable: str | None = None) -> dict[str, Any]:
        with _reading():
            response = await self._client.post(self.url + path, json=body)
        if unable is not None and response.status_code in (404, 405, 501):
            raise Unable(unable)
        return _checked(response, response.content)


@contextmanager
def _reading() -> Iterator[None]:
    """What goes wrong with the connection is Broken."""
    try:
        yield
    except httpx.HTTPError:
        raise Broken("the server behind this one broke off") from None


def _event(data: bytes) -> dict[str, Any]:
    event = decoded(data)
    if not isinstance(event, dict) or "error" in event:
        raise Broken("the engine failed while it wrote the answer")
    return event


def _text(choice: dict[str, Any]) -> str:
    said = choice.get("message") or choice.get("delta")
    return str((said.get("content") if said else choice.get("text")) or "")


def _tokens(choice: dict[str, Any], ask: Ask) -> tuple[Written, ...]:
    """Log-probabilities in either of OpenAI's forms."""
    told = choice.get("logprobs")
    if not told or ask.logprobs is None:
        return ()
    if "content" in told:
        return tuple(Written(*_scored(entry), tuple(Scored(*_scored(other)) for other in entry.get("top_logprobs") or ()))
                     for entry in told["content"] or ())
    tops = told.get("top_logprobs") or [None] * len(told["tokens"])
    return tuple(
        Written(token, token.encode(), value, tuple(Scored(text, text.encode(), chance) for text, chance in
                                                    sorted((top or {}).items(), key=lambda pair: -pair[1])))
        for token, value, top in zip(told["tokens"], told["token_logprobs"], tops, strict=True))


def _scored(entry: dict[str, Any]) -> tuple[str, bytes, float | None]:
    return entry["token"], bytes(entry.get("bytes") or entry["token"].encode()), entry["logprob"]


def _checked(response: httpx.Response, content: bytes) -> dict[str, Any]:
    """The engine's JSON, or what its refusal means."""
    status = response.status_code
    if status == 429:
        told = response.headers.get("retry-after", "")
        raise Busy(int(told) if told.isdecimal() else 1)
    if status == 503:
        raise Starting
    if status in (401, 403):
        raise Broken("the server behind this one does not take its key")
    body = decoded(content)
    if status == 200 and isinstance(body, dict):
        return body
    error = body.get("error", body) if isinstance(body, dict) else {}
    message = error.get("message") or error.get("detail") if isinstance(error, dict) else error
    if 400 <= status < 500:
        raise Refused(str(message or "the engine refuses the request")[:500])
    raise Broken("the engine failed")
