"""API keys: who may ask, and how much. Only their SHA-256 is kept, in memory as on disk.

A key that we make has 256 random bits, so that a plain digest of it tells nothing of it; a person's password would need more.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medloom.ledger import Refusal
from medloom.ledger.files import read_json, write_json

SHORTEST = 16  # characters of a key that somebody chose


class Key(BaseModel):
    """A key as it is kept. per_minute: requests that it may send in any minute; at_a_time: requests of it under way; None is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    made: str = ""
    per_minute: Annotated[int, Field(ge=1)] | None = None
    at_a_time: Annotated[int, Field(ge=1)] | None = None


class Spent(Exception):
    """A key has used up its limit; `seconds`: after which it may ask again."""

    def __init__(self, limit: str, seconds: int) -> None:
        super().__init__(limit)
        self.limit, self.seconds = limit, seconds


@dataclass
class Use:
    """What a key has under way, and how many requests it may send now."""

    running: int = 0
    left: float = 0.0
    seen: float = 0.0


class Keyring:
    """The keys of a server: given ones, and those of a file, which is read again whenever it changes.

    Without either, everybody may ask.
    """

    def __init__(self, given: Sequence[str] = (), file: Path | None = None) -> None:
        if any(len(key.strip()) < SHORTEST for key in given):
            raise Refusal(f"serve: an API key is empty or shorter than {SHORTEST} characters; make one with: medloom keys add NAME")
        self._given = [Key(name=f"given-{number}", sha256=digest_of(key)) for number, key in enumerate(given, 1)]
        self._file, self._state = file, (0, 0)
        self._read: list[Key] = read_keys(file) if file is not None else []
        self._uses: dict[str, Use] = {}
        if file is not None:
            self._state = _state(file)
            if not self._read:
                raise Refusal(f"{file}: no key in it; make one with: medloom keys add NAME --keys {file}")

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self._given and self._file is None

    def find(self, given: str) -> Key | None:
        """The key that was given, None for an unknown one.

        Every key is compared, in constant time, so that the time taken tells nothing of any.
        """
        digest = digest_of(given)
        found = None
        for key in self._all():
            if hmac.compare_digest(digest, key.sha256):
                found = key
        return found

    def enter(self, key: Key) -> None:
        """Count a request of a key in. Raises Spent beyond its limits; else `leave` must follow."""
        use = self._uses.setdefault(key.name, Use(left=key.per_minute or 0))
        if key.at_a_time is not None and use.running >= key.at_a_time:
            raise Spent(f"{key.at_a_time} requests at a time", 1)
        if key.per_minute is not None:
            now = time.monotonic()
            use.left = min(key.per_minute, use.left + (now - use.seen) * key.per_minute / 60)
            use.seen = now
            if use.left < 1:
                raise Spent(f"{key.per_minute} requests a minute", max(1, round((1 - use.left) * 60 / key.per_minute + 0.5)))
            use.left -= 1
        use.running += 1

    def leave(self, key: Key) -> None:
        """A request of the key is over."""
        self._uses[key.name].running -= 1

    def _all(self) -> Iterable[Key]:
        if self._file is not None and (state := _state(self._file)) != self._state:
            try:
                self._read, self._state = read_keys(self._file), state
            except Refusal:
                self._read = []  # who cannot be known is not let in
        return [*self._given, *self._read]


def digest_of(key: str) -> str:
    """SHA-256 of a key, in hexadecimal."""
    return hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(file: Path) -> list[Key]:
    """The keys of a file. Raises Refusal for one that is damaged or not there."""
    if not file.exists():
        raise Refusal(f"{file}: no such file; make one with: medloom keys add NAME --keys {file}")
    try:
        return [Key.model_validate(entry) for entry in read_json(file)["keys"]]
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise Refusal(f"{file}: is no file of keys ({type(error).__name__}); make one with: medloom keys add NAME --keys FILE") from None


def add_key(file: Path, name: str, *, per_minute: int | None = None, at_a_time: int | None = None) -> str:
    """Make a key, keep its digest in the file, and return it: this is the only time it is seen. Raises Refusal for a name that is taken."""
    keys = read_keys(file) if file.exists() else []
    if any(key.name == name for key in keys):
        raise Refusal(f"{file}: has a key named {name!r}; revoke it first, or take another name")
    secret = "medloom-" + secrets.token_urlsafe(32)
    try:
        key = Key(name=name, sha256=digest_of(secret), made=datetime.now(UTC).isoformat(timespec="seconds"), per_minute=per_minute,
                  at_a_time=at_a_time)
    except ValidationError:
        raise Refusal(f"{name!r}: a key's name has letters, digits, '.', '_' and '-' only, at most 64") from None
    _write(file, [*keys, key])
    return secret


def revoke_key(file: Path, name: str) -> None:
    """Take a key out of the file; servers that run see it at the next request. Raises Refusal where it is not there."""
    keys = read_keys(file)
    if all(key.name != name for key in keys):
        raise Refusal(f"{file}: has no key named {name!r}; there is {', '.join(key.name for key in keys) or 'none'}")
    _write(file, [key for key in keys if key.name != name])


def _write(file: Path, keys: Sequence[Key]) -> None:
    write_json(file, {"keys": [key.model_dump(exclude_none=True) for key in keys]})
    file.chmod(0o600)


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return -1, -1
    return found.st_mtime_ns, found.st_ino
