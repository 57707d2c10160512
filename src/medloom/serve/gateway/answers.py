"""What engines write, in OpenAI's forms: whole bodies, streamed chunks, errors."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any

from ..engines import Piece, Scored, Written

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
LEAST = -9999.0  # what OpenAI says for a log-probability that is minus infinity, which JSON cannot


class ApiError(Exception):
    """An answer that says no. `retry`: seconds after which trying again may help; `param`: the field at fault."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None, retry: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry = status, message, param, code, retry

    def body(self) -> dict[str, Any]:
        """OpenAI's error object; a stream, which has no headers left, tells in it too when to try again."""
        kind = _KINDS.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code,
                          **({} if self.retry is None else {"retry_after": self.retry})}}

    def headers(self) -> dict[str, str]:
        """Retry-After where it is known, and the scheme that a 401 must name."""
        headers = {} if self.retry is None else {"Retry-After": str(self.retry)}
        return {**headers, "WWW-Authenticate": "Bearer"} if self.status == 401 else headers


class Reply:
    """One reply under way, of one or several answers: its id and form.

    fingerprint: which weights and which template made it.
    """

    def __init__(self, model: str, fingerprint: str, *, chat: bool) -> None:
        self.chat = chat
        self._opened: set[int] = set()
        self._offsets: dict[int, int] = {}
        self._head = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model,
                      "system_fingerprint": fingerprint}

    def whole(self, pieces: Sequence[Piece], extras: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The body of a request without streaming; extras: what each choice has beside OpenAI's."""
        choices = []
        for index, (piece, extra) in enumerate(zip(pieces, extras, strict=True)):
            content = {"message": {"role": "assistant", "content": piece.text}} if self.chat else {"text": piece.text}
            choices.append({"index": index, **content, "finish_reason": piece.reason, "logprobs": self._logprobs(index, piece), **extra})
        return {**self._head, "object": "chat.completion" if self.chat else "text_completion", "choices": choices, "usage": usage(pieces)}

    def chunks(self, index: int, pieces: Sequence[Piece], extra: dict[str, Any], before: Sequence[Piece] | None = None) -> bytes:
        """The events that pieces of the answer `index` become.

        before: the last pieces of the answers before it, where every event is to tell the tokens so far; else None.
        """
        found = []
        for piece in pieces:
            if self.chat and index not in self._opened:
                self._opened.add(index)
                found.append(self._chunk(index, {"role": "assistant", "content": ""}, None, None, {}))
            if piece.text or piece.tokens:
                content = {"content": piece.text} if self.chat else piece.text
                so_far = {} if before is None else {"usage": usage([*before, piece])}
                found.append(self._chunk(index, content, None, self._logprobs(index, piece), {}, so_far))
            if piece.reason:
                found.append(self._chunk(index, {} if self.chat else "", piece.reason, None, extra))
        return b"".join(found)

    def counts(self, pieces: Sequence[Piece]) -> bytes:
        """The event that tells the tokens of all answers, by the last piece of each."""
        return sse({**self._head, "object": self._object, "choices": [], "usage": usage(pieces)})

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _chunk(self, index: int, content: Any, reason: str | None, logprobs: Any, extra: dict[str, Any],
               so_far: dict[str, Any] | None = None) -> bytes:
        choice = {"index": index, "delta" if self.chat else "text": content, "finish_reason": reason, "logprobs": logprobs, **extra}
        return sse({**self._head, "object": self._object, "choices": [choice], **(so_far or {})})

    def _logprobs(self, index: int, piece: Piece) -> dict[str, Any] | None:
        if not piece.tokens:
            return None
        if self.chat:
            return {"content": [{**_token(token), "top_logprobs": [_token(other) for other in token.top]} for token in piece.tokens]}
        offsets = []
        for token in piece.tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token.text)
        return {"tokens": [token.text for token in piece.tokens], "token_logprobs": [_chance(token) for token in piece.tokens],
                "top_logprobs": [_tops(token) for token in piece.tokens], "text_offset": offsets}


def _tops(token: Written) -> dict[str, float | None] | None:
    # Of two tokens with one text, such as two halves of a character, the likelier one counts.
    return None if token.logprob is None else {other.text: _chance(other) for other in reversed(token.top)}


def _token(token: Scored) -> dict[str, Any]:
    return {"token": token.text, "logprob": _chance(token), "bytes": list(token.bytes)}


def _chance(token: Scored) -> float | None:
    return None if token.logprob is None else max(token.logprob, LEAST)


def usage(pieces: Sequence[Piece]) -> dict[str, int]:
    """Tokens read and written."""
    read, written = sum(piece.read for piece in pieces), sum(piece.written for piece in pieces)
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def sse(value: dict[str, Any] | str) -> bytes:
    """One server-sent event."""
    data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()
