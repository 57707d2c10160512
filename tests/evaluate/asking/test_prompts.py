"""How questions become text and tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medloom import recipe
from medloom.evaluate import Benchmark, Item, TorchEngine, read_benchmark, write_examples
from medloom.evaluate.asking.prompts import SENTENCE, block, completions, demonstrations, pose, shared_beginning
from medloom.ledger import Refusal

MCQ = Item("m", "What is it?", ("one", "two", "three"), 1)
ASKED = Item("p", "Does it help?", ("yes", "no", "maybe"), 0, lettered=False, context="It was tried.\nIt did.")


@pytest.fixture(scope="module")
def engine(folder: Path) -> TorchEngine:
    return TorchEngine(folder, "cpu")


def test_the_wording() -> None:
    assert block(MCQ, "top-token") == "Question: What is it?\n\nOptions:\nA. one\nB. two\nC. three\n\nThe answer is:"
    assert block(MCQ, "option-text") == "Question: What is it?\n\nThe answer is:"
    assert block(ASKED, "top-token") == "It was tried.\nIt did.\nQuestion: Does it help?\n\nThe answer is:"
    assert completions(MCQ, "top-token") == [" A", " B", " C"]
    assert completions(MCQ, "option-text") == [" one", " two", " three"]
    assert completions(ASKED, "top-token") == [" yes", " no", " maybe"]


def test_the_scored_token_is_the_one_that_follows_with_its_space(engine: TorchEngine) -> None:
    (prompt,) = pose(Benchmark("b", (MCQ,)), engine, 1)
    for letter, candidate in zip("ABC", prompt.candidates, strict=True):
        (whole,) = engine.encode([f"{prompt.text} {letter}"])
        assert [*prompt.ids, *candidate] == whole


def test_shots_are_drawn_by_seed_and_read_like_the_question(questions: Path) -> None:
    benchmark = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path="", shots=3), questions, questions)
    text = demonstrations(benchmark, 1)
    assert text.count("The answer is: ") == 3 and text.endswith("\n\n")
    assert all(text.count(block(item, "top-token")) <= 1 for item in benchmark.train)
    assert text == demonstrations(benchmark, 1)
    assert len({demonstrations(benchmark, seed) for seed in range(8)}) > 1


def test_prompts_with_shots_share_them(questions: Path, engine: TorchEngine) -> None:
    benchmark = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path="", shots=1), questions, questions)
    prompts = pose(benchmark, engine, 1)
    shared = shared_beginning(prompts)
    (shots,) = engine.encode([demonstrations(benchmark, 1)])
    assert shared >= len(shots) - 2
    assert {prompt.ids[:shared] for prompt in prompts} == {prompts[0].ids[:shared]}
    assert shared_beginning(pose(replace(benchmark, shots=0), engine, 1)) == 0


def test_sentences_join_to_the_text() -> None:
    text = "First one. Second, 0.5 mg?  Third!\nA line\n\nLast without an end"
    assert "".join(SENTENCE.findall(text)) == text and len(SENTENCE.findall(text)) == 5


def test_what_does_not_fit_loses_whole_sentences_from_its_beginning(engine: TorchEngine) -> None:
    context = " ".join(f"The patient has a fever of {number}." for number in range(80))
    (prompt,) = pose(Benchmark("b", (replace(ASKED, context=context),)), engine, 1)
    assert prompt.fits and 0 < prompt.dropped < 80
    assert prompt.text.startswith(f"The patient has a fever of {prompt.dropped}.") and "Question: Does it help?" in prompt.text
    assert len(prompt.ids) < engine.context
    longer = prompt.text.replace("The patient", f"The patient has a fever of {prompt.dropped - 1}. The patient", 1)
    assert len(engine.encode([longer + " maybe"])[0]) > engine.context  # not one sentence more than needed was dropped


def test_the_last_sentence_of_a_question_stays(engine: TorchEngine) -> None:
    question = " ".join(f"The patient has a fever of {number}." for number in range(80)) + " Which is the answer?"
    (prompt,) = pose(Benchmark("b", (replace(MCQ, question=question),)), engine, 1)
    assert prompt.dropped and prompt.text.endswith("Which is the answer?\n\nOptions:\nA. one\nB. two\nC. three\n\nThe answer is:")


def test_more_than_one_in_twenty_that_cannot_fit_is_refused(engine: TorchEngine) -> None:
    endless = replace(MCQ, options=("one " * 400, "two", "three"))
    with pytest.raises(Refusal, match="1 of 2 questions, such as m, do not fit the model's 512 positions"):
        pose(Benchmark("b", (endless, replace(MCQ, id="n"))), engine, 1)
    many = tuple(replace(MCQ, id=str(number)) for number in range(19))
    assert [prompt.item.id for prompt in pose(Benchmark("b", (endless, *many)), engine, 1) if not prompt.fits] == ["m"]


def test_shots_that_leave_no_room_are_refused(questions: Path, engine: TorchEngine) -> None:
    benchmark = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path="", shots=6), questions, questions)
    with pytest.raises(Refusal, match="lower shots = 6"):
        pose(benchmark, engine, 1)


def test_answers_that_begin_alike_are_scored_whole(engine: TorchEngine) -> None:
    items = (replace(ASKED, options=("yes indeed", "yes or no", "maybe")), replace(ASKED, id="q"))
    prompts = pose(Benchmark("b", items), engine, 1)
    assert all(len(tokens) > 1 for tokens in prompts[0].candidates[:2])
    for prompt in prompts:
        for option, tokens in zip(prompt.item.options, prompt.candidates, strict=True):
            assert engine.encode([f"{prompt.text} {option}"])[0] == [*prompt.ids, *tokens]


def test_examples_are_worded_as_evaluation_poses_them(questions: Path, tmp_path: Path) -> None:
    benchmark = read_benchmark(recipe.Benchmark(name="m", kind="medqa", path=""), questions, questions)
    assert write_examples([benchmark], tmp_path / "e.jsonl", 1) == {"examples": 6, "benchmarks": {"m": 6}}
    import json

    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    for line in lines:
        (item,) = (item for item in benchmark.train if f"m:{item.id}" == line["id"])
        assert line["prompt"] == block(item, "top-token") and line["completion"] == f" {'ABCD'[item.answer]}"
    write_examples([benchmark], tmp_path / "f.jsonl", 2)
    assert (tmp_path / "e.jsonl").read_bytes() != (tmp_path / "f.jsonl").read_bytes()
    with pytest.raises(Refusal, match="no training questions"):
        write_examples([replace(benchmark, train=())], tmp_path / "g.jsonl", 1)
