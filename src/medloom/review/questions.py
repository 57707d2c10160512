"""The questions of a study, from JSON lines or CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from ..ledger.files import json_lines

LONGEST = 20_000  # characters


@dataclass(frozen=True)
class Question:
    """What the models are asked; `id` is the file's, or q1, q2, … where it has none."""

    id: str
    text: str


def read_questions(path: Path) -> list[Question]:
    """The questions of a file: `question` and, where given, `id`; other fields are passed over.

    Raises Refusal, naming the line, for a question that is missing, empty, too long, or has the id of another.
    """
    found: dict[str, Question] = {}
    for place, number, row in _rows(path):
        text = row.get("question") if isinstance(row, dict) else None
        if not isinstance(text, str) or not text.strip():
            raise Refusal(f"{place}: no question; give it as text in the field \"question\"")
        if len(text) > LONGEST:
            raise Refusal(f"{place}: the question has {len(text):,} characters; {LONGEST:,} is the most that a rater can be shown")
        ident = row.get("id")
        if ident is not None and not isinstance(ident, str | int):
            raise Refusal(f"{place}: id: give a text or a whole number, not {ident!r}")
        ident = f"q{number}" if ident is None or str(ident).strip() == "" else str(ident).strip()
        if ident in found:
            raise Refusal(f"{place}: id {ident!r} stands there twice; ids must differ")
        found[ident] = Question(ident, text.strip())
    if not found:
        raise Refusal(f"{path}: holds no question")
    return list(found.values())


def _rows(path: Path) -> Iterator[tuple[str, int, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: not UTF-8; save it as UTF-8") from None
    if path.suffix.lower() != ".csv":
        yield from json_lines(text, path)
        return
    try:
        reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
        if "question" not in (reader.fieldnames or ()):
            raise Refusal(f'{path}: no column "question" in its first line; name the column so')
        for number, row in enumerate(reader, 1):
            yield f"{path}, line {reader.line_num}", number, row
    except csv.Error as error:
        raise Refusal(f"{path}: not valid CSV: {error}") from None
