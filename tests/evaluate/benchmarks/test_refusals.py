"""Files that are no questions are refused in one line, whatever is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medloom.evaluate.benchmarks import medqa, truthfulqa
from medloom.ledger import Refusal

GOOD = {"question": "Which?", "options": {"A": "one", "B": "two"}, "answer_idx": "B"}


@pytest.mark.parametrize("content", [
    b"\xff\xfe\x00\x01", b"[" * 5000, b"{}", json.dumps({**GOOD, "options": [1, 2]}).encode(),
    json.dumps({**GOOD, "options": {"A": None, "B": "two"}}).encode(), json.dumps({**GOOD, "question": "\ud800"}).encode(),
    json.dumps({**GOOD, "answer_idx": "C"}).encode(),
], ids=["binary", "nested", "empty", "list", "null option", "half a pair", "no such letter"])
def test_medqa_files_that_cannot_be_used(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + content + b"\n")
    with pytest.raises(Refusal) as caught:
        medqa.read(path, "test")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_not_truthfulqa_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text("{}")
    with pytest.raises(Refusal, match=r"questions\.jsonl: not a TruthfulQA file"):
        truthfulqa.read(tmp_path / "questions.jsonl", "test")
