"""The engine's output in OpenAI's forms: whole bodies, streamed chunks, errors."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 404: "invalid_request_error", 413: "invalid_request_error",
          415: "invalid_request_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that says no. `retry`: seconds after which trying again may help; `param`: the field at fault."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry = status, message, param, code, retry

    def body(self) -> dict[str, Any]:
        """OpenAI's error object."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Retry-After where it is known, and the scheme that a 401 must name."""
        headers = {} if self.retry is None else {"Retry-After": str(self.retry)}
        return {**headers, "WWW-Authenticate": "Bearer"} if self.status == 401 else headers


class Answer:
    """One answer under way: its id and form, and what of it was sent.

    trim: leave out the white space before the first word, which belongs to the plain form and not to the answer.
    """

    def __init__(self, model: str, *, chat: bool, trim: bool) -> None:
        self.chat, self.ended = chat, False
        self._trim = trim
        self._opened = False
        self._head = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    def text(self, piece: str) -> str:
        """A piece of output as it is shown."""
        if self._trim:
            piece = piece.lstrip()
            self._trim = not piece
        return piece

    def whole(self, text: str, reason: str, usage: dict[str, int]) -> dict[str, Any]:
        """The body of a request without streaming."""
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason, "logprobs": None}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return {**self._head, "object": "chat.completion" if self.chat else "text_completion", "choices": [choice], "usage": usage}

    def chunks(self, data: str, usage: bool) -> Iterator[bytes]:
        """The events that one event of the engine becomes. Raises ApiError where the engine reports one."""
        event = json.loads(data)
        if "error" in event:
            raise ApiError(502, "the engine failed while it wrote the answer")
        if self.chat and not self._opened:
            self._opened = True
            yield self._chunk({"role": "assistant", "content": ""}, None)
        piece = self.text(event.get("content", ""))
        if piece:
            yield self._chunk({"content": piece} if self.chat else piece, None)
        if event.get("stop"):
            self.ended = True
            yield self._chunk({} if self.chat else "", finish_reason(event))
            if usage:
                yield sse({**self._head, "object": self._object, "choices": [], "usage": counts(event)})

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(self, content: Any, reason: str | None) -> bytes:
        choice = {"index": 0, "delta" if self.chat else "text": content, "finish_reason": reason, "logprobs": None}
        return sse({**self._head, "object": self._object, "choices": [choice]})


def completion_body(answer: Answer, event: dict[str, Any]) -> dict[str, Any]:
    """The whole body for what the engine wrote in one piece."""
    text = answer.text(str(event["content"]))
    return answer.whole(text.rstrip() if answer.chat else text, finish_reason(event), counts(event))


def finish_reason(event: dict[str, Any]) -> str:
    """OpenAI's word for why the engine stopped."""
    return "length" if event.get("stop_type") == "limit" else "stop"


def counts(event: dict[str, Any]) -> dict[str, int]:
    """Tokens read and written, by the engine's last event."""
    read, written = int(event.get("tokens_evaluated", 0)), int(event.get("tokens_predicted", 0))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def sse(value: dict[str, Any] | str) -> bytes:
    """One server-sent event."""
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()
