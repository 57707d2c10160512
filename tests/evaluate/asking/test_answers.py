"""Asking a whole benchmark: the file, the score, and going on after a kill."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medloom import recipe
from medloom.evaluate import Benchmark, GGUFEngine, TorchEngine, answer, compare, read_benchmark, score
from medloom.evaluate.engines.engine import Ids
from medloom.ledger import Refusal, Silent


@pytest.fixture
def benchmark(questions: Path) -> Benchmark:
    return read_benchmark(recipe.Benchmark(name="m", kind="medqa", path=""), questions, questions)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("mode", ["top-token", "option-text"])
def test_answers_do_not_depend_on_the_batch_and_are_the_same_bytes_again(
        folder: Path, benchmark: Benchmark, tmp_path: Path, mode: Any) -> None:
    benchmark = replace(benchmark, mode=mode)
    for name, batch in (("a", 1), ("b", 3), ("c", 16), ("d", 16)):
        with TorchEngine(folder, "cpu", batch) as engine:
            figures = answer(engine, benchmark, tmp_path / name / "answers.jsonl", 1, Silent())
    a, b, c = (lines_of(tmp_path / name / "answers.jsonl") for name in "abc")
    assert [line["id"] for line in a] == [item.id for item in benchmark.items]
    for one, other in (*zip(a, b, strict=True), *zip(a, c, strict=True)):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-5)
        assert {**one, "logprobs": 0} == {**other, "logprobs": 0}
    assert (tmp_path / "c/answers.jsonl").read_bytes() == (tmp_path / "d/answers.jsonl").read_bytes()
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["answers.jsonl"]
    measured = score(tmp_path / "c/answers.jsonl")
    assert measured.n == figures["n"] == 20 and measured.chance == 0.25 and measured.majority == 0.25
    assert measured.correct == sum(line["choice"] == line["gold"] for line in c)
    assert ("accuracy_per_byte" in figures) == (mode == "option-text")


class Killed(Exception):
    pass


class Dying:
    """A real engine that dies before one of its batches, as a killed process does."""

    def __init__(self, engine: TorchEngine, batches: int) -> None:
        self.engine, self.left = engine, batches
        self.context, self.batch, self.encode, self.identity = engine.context, engine.batch, engine.encode, engine.identity

    def next_token_logprobs(self, prompts: Sequence[Ids], candidates: Sequence[Ids], shared: int = 0) -> list[list[float]]:
        self.left -= 1
        if self.left < 0:
            raise Killed
        return self.engine.next_token_logprobs(prompts, candidates, shared)


@pytest.mark.parametrize("torn", [b"", b'{"id": "medqa', b"\xff\xfe", "whole line"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(folder: Path, benchmark: Benchmark, tmp_path: Path, torn: bytes | str) -> None:
    out, state = tmp_path / "answers.jsonl", tmp_path / "state"
    with TorchEngine(folder, "cpu", 3) as engine:
        answer(engine, benchmark, tmp_path / "whole.jsonl", 1, Silent())
        with pytest.raises(Killed):
            answer(Dying(engine, 4), benchmark, out, 1, Silent(), state)  # type: ignore[arg-type]
        partial = state / "answers.partial.jsonl"
        assert not out.exists() and len(partial.read_text().splitlines()) == 1 + 12
        with partial.open("ab") as stream:  # the batch that was being written: part of a line, or a whole line of three
            stream.write(partial.read_bytes().splitlines()[-1] + b"\n" if isinstance(torn, str) else torn)
        rest = Dying(engine, 3)
        figures = answer(rest, benchmark, out, 1, Silent(), state)  # type: ignore[arg-type]
    assert rest.left == 0  # twelve of twenty were not asked again
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes() and figures["n"] == 20
    assert not partial.exists()


def test_answers_of_two_models_are_not_mixed(folder: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    with TorchEngine(folder, "cpu", 3) as engine:
        with pytest.raises(Killed):
            answer(Dying(engine, 2), benchmark, tmp_path / "answers.jsonl", 1, Silent())  # type: ignore[arg-type]
        other = Dying(engine, 99)
        other.identity = lambda: "0" * 64  # type: ignore[method-assign]
        with pytest.raises(Refusal, match="another model"):
            answer(other, benchmark, tmp_path / "answers.jsonl", 1, Silent())  # type: ignore[arg-type]


def test_a_question_that_cannot_be_asked_counts_as_wrong_and_is_named(folder: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    endless = replace(benchmark.items[0], id="endless", options=("one " * 400, "two"), answer=1)
    items = tuple(replace(item, id=f"{copy}-{item.id}") for copy in range(2) for item in benchmark.items)
    with TorchEngine(folder, "cpu") as engine:
        figures = answer(engine, replace(benchmark, items=(endless, *items)), tmp_path / "a.jsonl", 1, Silent())
    assert figures["unasked"] == ["endless"] and figures["unparsed"] == 1 and figures["n"] == 41
    assert lines_of(tmp_path / "a.jsonl")[0] | {"tokens": 0, "prompt_sha256": ""} == {
        "id": "endless", "gold": 1, "choice": None, "options": 2, "logprobs": [None, None], "tie": False, "tokens": 0, "prompt_sha256": "",
        "dropped": 0, "group": None, "cluster": None}


@pytest.mark.parametrize("shots", [0, 1])
@pytest.mark.parametrize("mode", ["top-token", "option-text"])
def test_a_gguf_file_answers_as_the_model_it_was_made_from(
        folder: Path, gguf: Path, questions: Path, tmp_path: Path, mode: Any, shots: int) -> None:
    benchmark = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path="", shots=shots, mode=mode), questions, questions)
    with TorchEngine(folder, "cpu") as ours, GGUFEngine(gguf, 1) as theirs:
        answer(ours, benchmark, tmp_path / "ours.jsonl", 1, Silent())
        answer(theirs, benchmark, tmp_path / "theirs.jsonl", 1, Silent())
    for one, other in zip(lines_of(tmp_path / "ours.jsonl"), lines_of(tmp_path / "theirs.jsonl"), strict=True):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)
        assert one["prompt_sha256"] == other["prompt_sha256"] and one["choice"] == other["choice"]
    comparison = compare(tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl")
    assert comparison.difference == 0 and comparison.p_value == 1 and comparison.verdict == "not shown to differ"
