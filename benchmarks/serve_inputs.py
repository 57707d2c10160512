"""Requests that no client should send, drawn from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from sides.serve_client import request_bytes

_PATHS = ("/v1/completions", "/v1/chat/completions")
_FIELDS = ("model", "prompt", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "presence_penalty",
           "frequency_penalty", "stream", "stream_options", "n", "user", "echo", "logprobs", "top_logprobs", "tools", "functions")
_ODD: tuple[Any, ...] = (None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, -1e308, 2**31, 2**32, 2**63, 2**64, 10**400, "", "x", "1", "\x00",
                         "\ud800", "é" * 50, "x" * 5000, [], [[]], [None], ["a"] * 5, [1, "a"], {}, {"a": 1}, {"include_usage": "yes"},
                         [{}], [{"role": "user"}],
                         [{"role": "nurse", "content": "x"}], [{"role": "user", "content": [{"type": "image_url"}]}],
                         [{"role": "assistant", "content": "x"}])
_RAW = (b"", b"null", b"[]", b"7", b'"x"', b"{", b"}", b"{}", b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe", b"\x00" * 100, b'{"prompt": NaN}',
        b'{"prompt": "x", "temperature": NaN}', b'{"prompt": "x", "temperature": Infinity}', b'{"prompt": "x", "max_tokens": 1e999}',
        b'{"prompt": "x", "prompt": 1}', b'{"prompt": "\\ud83d"}', b'{"prompt": "\xc3\x28"}', b'{"prompt": "x" "max_tokens": 1}',
        b"\xef\xbb\xbf{}",
        b'{"prompt": "x", "max_tokens": 0x10}', b"prompt=x&max_tokens=1", b"<prompt>x</prompt>", b'{"prompt": 1' + b"0" * 5000 + b"}")


def malformed(url: str, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` kinds of fault and the whole request, on the wire."""
    draw = random.Random(seed)
    for _ in range(count):
        fault = draw.choice(_FAULTS)
        yield fault.__name__.strip("_"), fault(url, draw)


def _good(draw: random.Random) -> dict[str, Any]:
    return {"prompt": "Glorin is", "max_tokens": draw.randint(1, 2), "temperature": 0}


def _wrong_values(url: str, draw: random.Random) -> bytes:
    body = {**_good(draw), **{draw.choice(_FIELDS): draw.choice(_ODD) for _ in range(draw.randint(1, 3))}}
    return request_bytes(url, draw.choice(_PATHS), json.dumps(body).encode("utf-8", "surrogatepass"))


def _unknown_fields(url: str, draw: random.Random) -> bytes:
    body = {**_good(draw), "".join(draw.choices("abcdefgh_\x00é.[]", k=draw.randint(0, 40))): draw.choice(_ODD)}
    return request_bytes(url, draw.choice(_PATHS), json.dumps(body).encode("utf-8", "surrogatepass"))


def _cut_off(url: str, draw: random.Random) -> bytes:
    whole = json.dumps({"messages": [{"role": "user", "content": "Which drug?"}], "max_tokens": 1}).encode()
    return request_bytes(url, draw.choice(_PATHS), whole[:draw.randrange(len(whole))])


def _flipped(url: str, draw: random.Random) -> bytes:
    body = bytearray(json.dumps(_good(draw)).encode())
    for _ in range(draw.randint(1, 5)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return request_bytes(url, _PATHS[0], bytes(body))


def _not_an_object(url: str, draw: random.Random) -> bytes:
    return request_bytes(url, draw.choice(_PATHS), draw.choice(_RAW))


def _deep(url: str, draw: random.Random) -> bytes:
    depth = draw.choice((10, 100, 1000, 20_000))
    opened, closed = draw.choice(((b"[", b"]"), (b'{"a":', b"}")))
    field = draw.choice((b"prompt", b"messages", b"stop", b"x"))
    return request_bytes(url, draw.choice(_PATHS), b'{"%s":' % field + opened * depth + b"1" + closed * depth + b"}")


def _large(url: str, draw: random.Random) -> bytes:
    """Some are longer than what a server should hold, and the model's context is far shorter than all."""
    size = draw.choice((20_000, 100_000, 900_000, 1_200_000))
    return request_bytes(url, draw.choice(_PATHS), json.dumps({**_good(draw), "prompt": draw.choice("a é") * size}).encode())


def _odd_headers(url: str, draw: random.Random) -> bytes:
    name, value = draw.choice((
        ("Content-Type", "text/plain"), ("Content-Type", ""), ("Content-Type", "application/json; charset=utf-16"),
        ("Content-Type", "\udcff"),
        ("Content-Length", "-1"), ("Content-Length", "x"), ("Content-Length", "99999999999999999999"), ("Content-Length", "3"),
        ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip, chunked"), ("Expect", "100-continue"),
        ("Authorization", "Bearer \udcff\udc80"), ("Authorization", "Basic"), ("Host", ""), ("Host", "a b"), ("X" * 5000, "y"),
        ("X", "y" * 100_000),
        ("X-Medloom-Queue", "\udc80"), ("Accept", "nothing/at-all"), ("Origin", "null"), ("Upgrade", "websocket"),
        ("Connection", "upgrade"),
        ("Bad Name", "x"), ("", "x"), ("Cookie", "=;=;" * 500), ("Range", "bytes=5-1")))
    return request_bytes(url, draw.choice(_PATHS), json.dumps(_good(draw)).encode(), {name: value})


def _odd_requests(url: str, draw: random.Random) -> bytes:
    method = draw.choice(("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW", "post", ""))
    path = draw.choice((*_PATHS, "/", "/v1/models", "/v1/models/%00", "/v1/models/" + "x" * 3000, "/v1//completions", "/../../etc/passwd",
                        "/%2e%2e/%2e%2e/etc/passwd", "/page.js?x=%ff", "*", "/health", "/metrics", "/v1/embeddings", "//", "/\x7f"))
    return request_bytes(url, path, b"" if draw.random() < 0.5 else json.dumps(_good(draw)).encode(), method=method)


def _not_http(url: str, draw: random.Random) -> bytes:
    return draw.choice((b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", draw.randbytes(200) + b"\r\n\r\n",
                        b"POST /v1/completions HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))


_FAULTS: tuple[Callable[[str, random.Random], bytes], ...] = (
    _wrong_values, _wrong_values, _wrong_values, _unknown_fields, _cut_off, _flipped, _not_an_object, _deep, _large, _odd_headers,
    _odd_requests, _not_http)
