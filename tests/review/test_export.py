"""The exports hold what the database holds, and do no harm in a spreadsheet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medloom.notice import NOTICE_SHORT
from medloom.review import Question, Store, write_csv, write_jsonl
from medloom.review.export import records

DANGEROUS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "  =1+1", "\uff1d1+1")


def judge(a: str, b: str, question: str) -> dict[str, Any]:
    return {"preference": "a" if a == "heron" else "b", "unsafe": {"a": a == "otter", "b": b == "otter"},
            "comment": "fine, \"said\" she\nand he", "seconds": 3.5, "ratings": {"tone": {"a": 1 if a == "heron" else 0, "b": None}}}


AXIS = [{"key": "tone", "title": "Tone", "question": "Is it kind?", "options": ["No", "Yes"]}]


def test_both_exports_say_what_the_database_says(study: Callable[..., Store], cast: Callable[..., None], tmp_path: Path) -> None:
    store = study(axes=AXIS)
    for rater in ("ann", "ben"):
        cast(store, rater, judge)
    assert write_csv(store, tmp_path / "v.csv") == write_jsonl(store, tmp_path / "v.jsonl") == 8
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines()]
    with (tmp_path / "v.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(lines[0])
    for row, line in zip(rows, lines, strict=True):
        assert row == {key: "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                       for key, value in line.items()}
    with store.reading() as db:
        for line in lines:
            kept = db.execute("SELECT v.*, s.* FROM votes v JOIN assignments s ON s.id = v.assignment WHERE s.rater = ? AND s.question = ?",
                              (line["rater"], line["question_id"])).fetchone()
            shown = (kept["second"], kept["first"]) if kept["swapped"] else (kept["first"], kept["second"])
            assert (line["model_a"], line["model_b"]) == shown
            assert (line["preference"], line["voted_at"], line["comment"]) == (kept["preference"], kept["voted_at"], kept["comment"])
            for side in "ab":
                answer = db.execute("SELECT * FROM answers WHERE question = ? AND model = ?",
                                    (line["question_id"], line[f"model_{side}"])).fetchone()
                assert all(line[f"answer_{side}_{fact}"] == answer[fact] for fact in ("text", "seed", "template", "model_sha256", "tokens",
                                                                                     "temperature", "served_as"))
    assert all(line["preferred"] == "heron" and line["notice"] == NOTICE_SHORT for line in lines)
    assert all(line["tone_a_words"] == ("Yes" if line["model_a"] == "heron" else "No") and line["tone_b"] is None for line in lines)


@pytest.mark.parametrize("text", DANGEROUS)
def test_no_cell_is_a_formula(study: Callable[..., Store], cast: Callable[..., None], tmp_path: Path, text: str) -> None:
    store = study(questions=[Question("q", f"{text}?")], raters=("=rater",), axes=AXIS)
    cast(store, "=rater", lambda a, b, question: {**judge(a, b, question), "comment": text})
    write_csv(store, tmp_path / "v.csv")
    with (tmp_path / "v.csv").open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.reader(stream):
            for cell in row:
                assert cell.lstrip(" ")[:1] not in tuple("=+-@\t\r\uff1d"), cell
    (line,) = records(store)
    assert line["comment"] == text.strip() and line["rater"] == "=rater", "JSON lines have it as it was"
