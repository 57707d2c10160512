"""What the records say, counted again from the files beside them: answers and sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from .trail import Trail

ANSWERS = "answers.jsonl"


def recount(trail: Trail, folders: Mapping[str, Path]) -> list[str]:
    """Where a step's answers, or the size of a file that the gate judged, come to another number than the record: a line each."""
    return [*_answers(trail, folders), *_sizes(trail, folders)]


def _answers(trail: Trail, folders: Mapping[str, Path]) -> Iterator[str]:
    for name, folder in folders.items():
        path = folder / ANSWERS
        if not name.startswith("evaluate-") or not path.is_file():
            continue
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
            counted = {"n": len({line["id"] for line in lines}), "correct": sum(line["choice"] == line["gold"] for line in lines)}
        except (ValueError, KeyError, TypeError):
            yield f"{folder.name}/{ANSWERS}: cannot be read as answers"
            continue
        for field, number in counted.items():
            stated = trail.find(f"{name}:figures/{field}")
            if stated is not None and stated != number:
                yield f"{name}:figures/{field}: the record says {stated}, its {ANSWERS} holds {number}"


def _sizes(trail: Trail, folders: Mapping[str, Path]) -> Iterator[str]:
    for number, file in enumerate(trail.find("gate:figures/files") or ()):
        path = folders.get(f"export-{file['type']}", Path()) / str(file.get("file"))
        if path.is_file() and path.stat().st_size != file["bytes"]:
            yield f"gate:figures/files/{number}/bytes: the record says {file['bytes']}, {path.name} has {path.stat().st_size}"
