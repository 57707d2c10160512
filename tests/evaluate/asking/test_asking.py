"""Every mode and every further asking, on a real engine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medloom import recipe
from medloom.evaluate import Benchmark, TorchEngine, answer, read_benchmark, score
from medloom.evaluate.asking.ask import Asking, askings, posed
from medloom.evaluate.engines.engine import Continuation, Ids, Sampling
from medloom.ledger import Silent


@pytest.fixture
def benchmark(questions: Path) -> Benchmark:
    found = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path="", tokens=8, branches=5), questions, questions)
    return replace(found, items=found.items[:6])


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("mode", ["generation", "chain-of-thought", "self-consistency"])
def test_what_a_model_writes_is_kept_whatever_the_batch(folder: Path, benchmark: Benchmark, tmp_path: Path, mode: Any) -> None:
    benchmark = replace(benchmark, mode=mode)
    for batch in (1, 4):
        with TorchEngine(folder, "cpu", batch) as engine:
            figures = answer(engine, benchmark, tmp_path / f"{batch}/answers.jsonl", 1, Silent())
    lines = lines_of(tmp_path / "4/answers.jsonl")
    assert lines == lines_of(tmp_path / "1/answers.jsonl")
    for line in lines:
        assert len(line["texts"]) == len(line["votes"]) == len(line["ended"]) and line["logprobs"] is None
        assert 1 <= len(line["texts"]) <= (5 if mode == "self-consistency" else 1)
        assert line["choice"] is None or line["choice"] in line["votes"]
    assert figures["unparsed"] == sum(line["choice"] is None for line in lines)
    if mode == "self-consistency":
        assert len({text for line in lines for text in line["texts"]}) > len(lines)  # branches are drawn apart


def test_thinking_aloud_is_asked_for_and_shown_in_shots(benchmark: Benchmark, folder: Path) -> None:
    taught = tuple(replace(item, explanation=f"Fever of {number}.") for number, item in enumerate(benchmark.train))
    untaught = (replace(item, explanation=None) for item in taught[2:])
    aloud = replace(benchmark, mode="chain-of-thought", shots=1, train=(*taught[:2], *untaught))
    with TorchEngine(folder, "cpu") as engine:
        text = posed(aloud, engine, Asking(1))[0].text
    assert text.endswith("Let's think step by step.") and text.count("Let's think step by step. Fever of ") == 1
    assert text.index("\nThe answer is: ") < text.rindex("Question:")


def test_a_turned_question_keeps_its_gold_and_its_options_names(folder: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    turned = replace(benchmark, rotations=True)
    assert [asking.name for asking in askings(turned, 1)] == ["", "turn 1", "turn 2", "turn 3"]
    with TorchEngine(folder, "cpu") as engine:
        first = posed(turned, engine, Asking(1))[1]
        second = posed(turned, engine, Asking(1, 1, "turn 1"))[1]
        figures = answer(engine, turned, tmp_path / "answers.jsonl", 1, Silent())
    assert f"A. {first.item.options[1]}\n" in second.text and f"D. {first.item.options[0]}\n" in second.text
    assert first.item.options[first.item.answer] == second.item.options[second.item.answer]
    lines = lines_of(tmp_path / "answers.jsonl")
    assert len(lines) == 24 and [line.get("asked", "") for line in lines[::6]] == ["", "turn 1", "turn 2", "turn 3"]
    for place, item in enumerate(benchmark.items):
        assert {line["gold"] for line in lines[place::6]} == {item.answer}
    # An option's log-probability follows it to its new letter: turned back, the likeliest is the one that was chosen.
    assert all(line["choice"] == line["logprobs"].index(max(line["logprobs"])) for line in lines)
    assert figures["n"] == score(tmp_path / "answers.jsonl").n == 6


def test_every_seed_draws_its_own_shots(folder: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    several = replace(benchmark, shots=1, seeds=(1234, 432, 32))
    with TorchEngine(folder, "cpu") as engine:
        answer(engine, several, tmp_path / "answers.jsonl", 1, Silent())
        answer(engine, replace(several, seeds=(1234,)), tmp_path / "one.jsonl", 1, Silent())
    lines = lines_of(tmp_path / "answers.jsonl")
    assert [line.get("asked", "") for line in lines[::6]] == ["", "seed 432", "seed 32"]
    assert lines[:6] == lines_of(tmp_path / "one.jsonl")
    assert len({line["prompt_sha256"] for line in lines}) > 6


class Dying:
    """A real engine that dies before one of its batches, as a killed process does."""

    def __init__(self, engine: TorchEngine, batches: int) -> None:
        self.engine, self.left = engine, batches
        self.context, self.batch, self.encode, self.identity = engine.context, engine.batch, engine.encode, engine.identity

    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        self.left -= 1
        if self.left < 0:
            raise InterruptedError
        return self.engine.generate(prompts, seeds, sampling, shared)


def test_a_run_killed_in_a_later_asking_ends_with_the_same_bytes(folder: Path, benchmark: Benchmark, tmp_path: Path) -> None:
    several = replace(benchmark, mode="generation", rotations=True)
    with TorchEngine(folder, "cpu", 2) as engine:
        answer(engine, several, tmp_path / "whole.jsonl", 1, Silent())
        for batches in (4, 5):
            with pytest.raises(InterruptedError):
                answer(Dying(engine, batches), several, tmp_path / "answers.jsonl", 1, Silent())  # type: ignore[arg-type]
        rest = Dying(engine, 3)
        answer(rest, several, tmp_path / "answers.jsonl", 1, Silent())  # type: ignore[arg-type]
    assert rest.left == 0
    assert (tmp_path / "answers.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == ["answers.jsonl", "whole.jsonl"]


@pytest.mark.parametrize("mode", ["top-token", "chain-of-thought", "self-consistency"])
def test_the_originals_protocol_names_its_defects(folder: Path, benchmark: Benchmark, tmp_path: Path, mode: Any) -> None:
    original = replace(benchmark, protocol="meditron", mode=mode, branches=2)
    with TorchEngine(folder, "cpu", 4) as engine:
        figures = answer(engine, original, tmp_path / "answers.jsonl", 1234, Silent())
    assert figures["protocol"] == "meditron" and len(figures["defects"]) >= 8
    assert all(line["texts"] for line in lines_of(tmp_path / "answers.jsonl"))
