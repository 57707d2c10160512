"""Questions out of any benchmark's file, whatever its form: what a contamination test needs is their words alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from ..ledger.files import files_at, json_lines

FIELDS = ("question", "query", "problem", "sent1", "input", "prompt", "context", "contexts", "passage", "abstract")
IDENTIFIERS = ("id", "qid", "question_id", "pmid", "idx")
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")


@dataclass(frozen=True)
class Question:
    """A question with what belongs to it (context), as one text."""

    id: str
    text: str


def read_questions(path: Path, fields: tuple[str, ...] = ()) -> list[Question]:
    """The questions of a file or folder: JSON lines, JSON (a list, or an object of questions by id), CSV, TSV, Parquet, or text with one
    on each line.

    `fields` names the columns to read, else those of FIELDS that are there, in any case of letters; a CSV without any of these has its
    first column read. Raises Refusal where nothing can be read.
    """
    found = {name: file for name, file in files_at(path).items() if file.suffix.lower() in SUFFIXES}
    if not found:
        raise Refusal(f"{path}: no benchmark file here ({', '.join(SUFFIXES)})")
    questions = []
    for name, file in found.items():
        try:
            for number, (identifier, record) in enumerate(_records(file), start=1):
                text = _text(record, fields)
                if text:
                    questions.append(Question(identifier or f"{name}#{number}", text))
        except Refusal:
            raise
        except (ValueError, OSError) as error:
            raise Refusal(f"{file}: cannot be read as {file.suffix.lstrip('.')}: {str(error).splitlines()[0]}") from None
    if not questions:
        raise Refusal(f"{path}: no question found in the fields {', '.join(fields or FIELDS)}; name the right ones with --field")
    return questions


def _records(file: Path) -> Iterator[tuple[str | None, Any]]:
    kind = file.suffix.lower()
    if kind == ".parquet":
        import pyarrow.parquet as pq

        for record in pq.read_table(file).to_pylist():
            yield _identifier(record), record
        return
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    if kind == ".txt":
        yield from ((None, line) for line in text.splitlines())
    elif kind in (".csv", ".tsv"):
        rows = list(csv.reader(io.StringIO(text), delimiter="\t" if kind == ".tsv" else ","))
        head = [cell.strip().lower() for cell in rows[0]] if rows else []
        if any(name in head for name in FIELDS):
            for row in rows[1:]:
                record = dict(zip(rows[0], row, strict=False))
                yield _identifier(record), record
        else:  # no header: MMLU's form, the question first
            yield from ((None, row[0]) for row in rows if row)
    elif kind == ".json":
        whole = json.loads(text)
        if isinstance(whole, list):
            yield from ((_identifier(record), record) for record in whole)
        elif isinstance(whole, dict) and all(isinstance(value, dict) for value in whole.values()):
            yield from whole.items()
        elif isinstance(whole, dict):
            lists = [value for value in whole.values() if isinstance(value, list)]
            yield from ((_identifier(record), record) for several in lists for record in several)
    else:
        yield from ((_identifier(record), record) for _, _, record in json_lines(text, file))


def _identifier(record: Any) -> str | None:
    if not isinstance(record, Mapping):
        return None
    lower = {str(name).lower(): value for name, value in record.items()}
    return next((str(lower[name]) for name in IDENTIFIERS if lower.get(name) not in (None, "")), None)


def _text(record: Any, fields: tuple[str, ...]) -> str:
    if isinstance(record, str):
        return record
    if not isinstance(record, Mapping):
        return ""
    lower = {str(name).lower(): value for name, value in record.items()}
    parts = []
    for name in fields or FIELDS:
        value = lower.get(name.lower())
        parts += [value] if isinstance(value, str) else [part for part in value if isinstance(part, str)] if isinstance(value, list) else []
        if isinstance(value, Mapping):  # HEAD-QA, PubMedQA on the hub: {"contexts": [...]}
            parts += [part for inner in value.values() if isinstance(inner, list) for part in inner if isinstance(part, str)]
    return "\n".join(parts)
