"""The votes of a study as CSV and JSON lines: one row a vote, columns in one order, with how each answer was written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ledger.files import atomic
from ..notice import NOTICE_SHORT
from .store import Store

FACTS = ("tokens", "temperature", "seed", "template", "model_sha256", "served_as", "cut", "text")  # of an answer, in the order of columns
STARTS_FORMULA = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"  # with their full-width forms, which Excel takes alike


def records(store: Store) -> Iterator[dict[str, Any]]:
    """Every vote, by question, models and rater in the study's order. Ratings are an option's place and its words, both None for
    "cannot tell"."""
    options = {axis.key: axis.options for axis in store.study.axes}
    models = {one.name: place for place, one in enumerate(store.study.models)}
    with store.reading() as db:
        answers = {(row["question"], row["model"]): row for row in db.execute("SELECT * FROM answers")}
        ratings = {(row["assignment"], row["side"], row["axis"]): row["score"] for row in db.execute("SELECT * FROM ratings")}
        rows = db.execute(
            "SELECT v.*, s.*, q.text AS asked, q.position AS place, r.position AS who FROM votes v "
            "JOIN assignments s ON s.id = v.assignment JOIN questions q ON q.id = s.question JOIN raters r ON r.name = s.rater").fetchall()
    for row in sorted(rows, key=lambda one: (one["place"], models[one["first"]], models[one["second"]], one["who"])):
        shown = {"a": row["second"], "b": row["first"]} if row["swapped"] else {"a": row["first"], "b": row["second"]}
        record: dict[str, Any] = {
            "question_id": row["question"], "question": row["asked"], "rater": row["rater"], "position": row["position"] + 1,
            "model_a": shown["a"], "model_b": shown["b"], "preference": row["preference"], "preferred": shown.get(row["preference"]),
            "unsafe_a": bool(row["unsafe_a"]), "unsafe_b": bool(row["unsafe_b"])}
        for axis, words in options.items():
            for side in "ab":
                score = ratings[row["assignment"], side, axis]
                record |= {f"{axis}_{side}": score, f"{axis}_{side}_words": None if score is None else words[score]}
        record |= {"comment": row["comment"], "seconds": row["seconds"], "voted_at": row["voted_at"]}
        for side in "ab":
            answer = answers[row["question"], shown[side]]
            record |= {f"answer_{side}_{fact}": bool(answer[fact]) if fact == "cut" else answer[fact] for fact in FACTS}
        yield {**record, "notice": NOTICE_SHORT}


def write_csv(store: Store, path: Path) -> int:
    """Write the votes as CSV, UTF-8, and give their number.

    A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV injection); JSON lines have it as it was.
    """
    columns = _columns(store)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writeheader()
    count = 0
    for count, record in enumerate(records(store), 1):  # noqa: B007  told at the end
        writer.writerow({key: _cell(value) for key, value in record.items()})
    with atomic(path) as temporary:
        temporary.write_bytes(text.getvalue().encode("utf-8-sig"))  # the mark has Excel read it as UTF-8
    return count


def write_jsonl(store: Store, path: Path) -> int:
    """Write the votes as JSON lines, and give their number."""
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records(store)]
    with atomic(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def _columns(store: Store) -> list[str]:
    ratings = [f"{axis.key}_{side}{end}" for axis in store.study.axes for side in "ab" for end in ("", "_words")]
    return ["question_id", "question", "rater", "position", "model_a", "model_b", "preference", "preferred", "unsafe_a", "unsafe_b",
            *ratings, "comment", "seconds", "voted_at", *(f"answer_{side}_{fact}" for side in "ab" for fact in FACTS), "notice"]


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.lstrip(" \u00a0\ufeff").startswith(tuple(STARTS_FORMULA)):
        return f"'{value}"
    return "" if value is None else value
