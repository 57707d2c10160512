"""What every request to an OpenAI-compatible server shares: the key, patience, and errors that name their cure.

Messages name the server's address and what it said, never the key and never a prompt.
"""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ...addresses import is_loopback, server_address
from ...ledger import Refusal

BUSY = (429, 502, 503, 504)
WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further try, where the server names none
LONGEST_WAIT = 120.0
SAID = 200  # characters of a server's own message that are passed on


class Said(Refusal):
    """The server does not take a request as it is: an HTTP status from 400 on that waiting does not cure."""

    def __init__(self, url: str, status: int, message: str) -> None:
        super().__init__(f"{url}: the server refuses the request (HTTP {status}: {message})")
        self.status, self.message = status, message


class Client:
    """JSON requests to one server, from several threads at once.

    A server that is busy or drops the connection is asked again after `waits`, or after what it says in Retry-After. The environment's
    proxies are not used for an address of this machine.
    """

    def __init__(self, url: str, key: str | None, *, connections: int, seconds: float = 600.0, waits: tuple[float, ...] = WAITS) -> None:
        parts = server_address(url)
        self.url = url.rstrip("/").removesuffix("/v1")
        self._seconds, self._waits = seconds, waits
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {}, trust_env=not is_loopback(parts.hostname or ""),
            timeout=httpx.Timeout(seconds, connect=10.0, pool=None), limits=httpx.Limits(max_connections=connections))

    def get(self, path: str) -> dict[str, Any]:
        """The object at a path. Raises Refusal, and Said where the server has no such thing."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The object that answers a body. Raises Refusal, and Said where the server does not take the body."""
        return self._ask("POST", path, body)

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for wait in (*self._waits, None):
            try:
                response = self._http.request(method, self.url + path, json=body)
            except httpx.TimeoutException:
                raise Refusal(f"{self.url}{path}: no answer within {self._seconds:g} seconds; see whether the server is overloaded, "
                              "and lower batch") from None
            except httpx.TransportError as error:
                if wait is None or (isinstance(error, httpx.ConnectError) and method == "GET"):
                    raise Refusal(f"{self.url}: cannot be reached ({type(error).__name__}); start the server, "
                                  "or mend the address") from None
                time.sleep(wait)
                continue
            if response.status_code in BUSY and wait is not None:
                time.sleep(self._patience(response, wait))
                continue
            return self._read(response, path, body)
        raise AssertionError("the last try returns or raises")

    def _patience(self, response: httpx.Response, wait: float) -> float:
        """Seconds to wait before the next try: what Retry-After says, as seconds or as a date (RFC 9110, 10.2.3), else `wait`."""
        told = response.headers.get("retry-after", "")
        seconds = wait
        try:
            seconds = float(told)
        except ValueError:
            with contextlib.suppress(ValueError, TypeError):
                seconds = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds()
        if seconds > LONGEST_WAIT:
            raise Refusal(f"{self.url}: asks to be left alone for {seconds:.0f} seconds (HTTP {response.status_code}); go on later")
        return max(seconds, 0.0)

    def _read(self, response: httpx.Response, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        status = response.status_code
        if status in (401, 403):
            raise Refusal(f"{self.url}: does not take the key (HTTP {status}); set MEDLOOM_API_KEY to one that may use this model")
        if status in BUSY:
            raise Refusal(f"{self.url}: still busy after {len(self._waits) + 1} tries (HTTP {status}); go on later, or lower batch")
        try:
            content = response.json()
        except ValueError:
            content = None
        if status >= 400:
            raise Said(f"{self.url}{path}", status, _message(content, body))
        if not isinstance(content, dict):
            raise Refusal(f"{self.url}{path}: answers with something else than a JSON object; is it an OpenAI-compatible server?")
        return content


def _message(content: Any, body: dict[str, Any] | None) -> str:
    """What the server says of its refusal, short, and without the prompt, which some servers repeat."""
    error = content.get("error", content) if isinstance(content, dict) else None
    said = error.get("message", error.get("detail")) if isinstance(error, dict) else error
    text = said if isinstance(said, str) else json.dumps(said) if said else "no reason given"
    prompt = (body or {}).get("prompt", (body or {}).get("content"))
    if isinstance(prompt, str) and prompt and (prompt[:40] in text or json.dumps(prompt)[1:41] in text):
        return "a reason that repeats the prompt"
    return text[:SAID]
