"""Files that are whole or absent, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from itertools import takewhile
from pathlib import Path
from typing import Any

from .refusal import Refusal


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; on a clean exit it is flushed to disk and renamed to `path`, else removed.

    A reader therefore sees the old file, or the new one whole, or none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON with `atomic`; keys keep their order, NaN is refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file, or something else than an object in it. Refused where it is no JSON."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not valid JSON: {error}") from None
    return content if isinstance(content, dict) else {}


def json_lines(text: str, where: Path | str) -> Iterator[tuple[str, int, Any]]:
    """The values of JSON lines, each with its place ("where, line 3") and its line's number, from 1; empty lines are passed over.

    Lines end at a line feed alone: the other ends that Unicode knows may stand inside a JSON text. Refused, naming the line, where one is
    no JSON.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{where}, line {number}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Refusal(f"{place}: not valid JSON: {error}; mend or remove the line") from None
            yield place, number, value


def files_at(path: Path) -> dict[str, Path]:
    """The files that a path means: itself, all below a folder, or those that match a pattern such as `xml/*.gz`.

    Keys are names relative to the folder, or to the part of the pattern before its first wildcard; sorted. Empty where there is none.
    """
    if path.is_file():
        return {path.name: path}
    if path.is_dir():
        root, found = path, path.rglob("*")
    else:
        plain = list(takewhile(lambda part: not has_magic(part), path.parts))
        if len(plain) == len(path.parts):
            return {}
        root = Path(*plain)
        found = root.glob("/".join(path.parts[len(plain):]))
    return {file.relative_to(root).as_posix(): file for file in sorted(found) if file.is_file()}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: keys sorted, no white space, NaN refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
