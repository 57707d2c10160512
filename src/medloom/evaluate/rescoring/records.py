"""Other people's files: one JSON object a line, or one list of them, and the fields inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ...ledger.files import json_lines


def read_records(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Each object with where it stands. Raises Refusal, naming the line, where one is not JSON or not an object, or there is none."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; name a .jsonl file with one answer a line") from None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not a text file ({type(error).__name__}); name a .jsonl file with one answer a line") from None
    if text.lstrip().startswith("["):
        found = [(f"{path}, entry {number}", value) for number, value in enumerate(_list(text, path), 1)]
    else:
        found = [(where, value) for where, _, value in json_lines(text, path)]
    if not found:
        raise Refusal(f"{path}: holds no answers; name a .jsonl file with one answer a line")
    for where, value in found:
        if not isinstance(value, dict):
            raise Refusal(f"{where}: not a JSON object; every answer is an object with fields")
    return found


def field(record: Mapping[str, Any], name: str, where: str) -> Any:
    """The value of a field, or of one inside others, its path written with dots (`doc.id`, `resps.0.0`: numbers count from 0).

    Raises Refusal, naming what fields there are, where it does not exist.
    """
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (LookupError, TypeError, ValueError):
            raise Refusal(f"{where}: has no field {name}; its fields are {', '.join(map(str, record))}") from None
    return value


def _list(text: str, path: Path) -> list[Any]:
    try:
        values: list[Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{path}: not valid JSON: {error}; a file that begins with [ is one list of answers") from None
    return values
