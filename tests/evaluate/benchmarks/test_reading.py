"""Benchmarks: what the real releases hold, and what is said of files that cannot be used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from medloom import recipe
from medloom.evaluate import read_benchmark, write_questions
from medloom.evaluate.benchmarks import truthfulqa
from medloom.ledger import Refusal


def entry(kind: str, **more: object) -> recipe.Benchmark:
    return recipe.Benchmark.model_validate({"name": kind, "kind": kind, "path": "unused", **more})


@pytest.mark.parametrize(("options", "majority"), [(4, 0.2773), (5, 0.2176)])
def test_medqa_test_has_1273_questions_and_is_recognised(shared: Path, options: int, majority: float) -> None:
    benchmark = read_benchmark(entry("medqa"), shared / f"benchmarks/medqa/us_{options}opt_test.jsonl")
    assert len(benchmark.items) == 1273 and benchmark.chance == pytest.approx(1 / options)
    assert benchmark.majority == pytest.approx(majority, abs=5e-5)
    assert benchmark.integrity is not None
    assert benchmark.integrity["release"] == f"MedQA, US test, {'four' if options == 4 else 'five'} options (1273)"
    assert benchmark.integrity["duplicate_options"] == 0
    assert benchmark.integrity["groups"] == {"step1": 679, "step2&3": 594}


def test_pubmedqa_splits_into_its_500_test_ids_and_the_rest(shared: Path) -> None:
    place = shared / "benchmarks/pubmedqa"
    benchmark = read_benchmark(entry("pubmedqa"), place, place)
    assert len(benchmark.items) == len(benchmark.train) == 500
    assert benchmark.majority == pytest.approx(0.552)  # always "yes"
    truth = json.loads((place / "test_ground_truth.json").read_text())
    assert {item.id: item.options[item.answer] for item in benchmark.items} == truth
    assert benchmark.integrity is not None and benchmark.integrity["release"] == "PubMedQA, labelled, test (500)"
    raw = json.loads((place / "ori_pqal.json").read_text())
    assert all(raw[item.id]["LONG_ANSWER"] not in (item.context or "") for item in benchmark.items)  # it gives the answer away


def test_pubmedqa_human_scores_recompute(shared: Path) -> None:
    # Jin et al. 2019: one annotator, reasoning with and without the conclusion, 78.0 % and 90.4 % of the 500.
    raw = json.loads((shared / "benchmarks/pubmedqa/ori_pqal.json").read_text())
    items = read_benchmark(entry("pubmedqa"), shared / "benchmarks/pubmedqa").items
    for key, share in (("reasoning_required_pred", 0.780), ("reasoning_free_pred", 0.904)):
        assert sum(raw[item.id][key] == item.options[item.answer] for item in items) / 500 == pytest.approx(share)


def test_truthfulqa_medical_has_99_questions(shared: Path) -> None:
    benchmark = read_benchmark(entry("truthfulqa"), shared / "benchmarks/truthfulqa")
    assert Counter(item.group for item in benchmark.items) == {"Health": 55, "Nutrition": 16, "Psychology": 19, "Science": 9}
    assert benchmark.chance == pytest.approx(0.207, abs=5e-4)
    assert {len(item.options) for item in benchmark.items} == {2, 3, 4, 5, 6, 7, 8, 9, 11}
    assert benchmark.integrity is not None and benchmark.integrity["release"] is not None
    # In the file the true option always comes first; a model that says A must not profit from it.
    assert sum(item.answer == 0 for item in benchmark.items) < 35
    raw = json.loads((shared / "benchmarks/truthfulqa/v1_mc_task.json").read_text())
    targets = {question["question"]: question["mc1_targets"] for question in raw}
    assert all(targets[item.question][item.options[item.answer]] == 1 for item in benchmark.items)


def test_limit_keeps_the_same_questions_in_the_files_order(questions: Path) -> None:
    every, some = (read_benchmark(entry("medqa", **more), questions) for more in ({}, {"limit": 7}))
    assert len(some.items) == 7 and some.available == 20
    assert list(some.items) == [item for item in every.items if item in some.items]
    assert list(some.items) != list(every.items[:7])
    assert some.integrity == every.integrity


def test_questions_are_written_for_decontamination(questions: Path, tmp_path: Path) -> None:
    benchmark = read_benchmark(entry("medqa"), questions, questions)
    assert write_questions(benchmark, tmp_path / "q.jsonl") == {"questions": 20}
    first = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[0])
    assert set(first) == {"id", "question", "options", "context", "pmid", "answer"}
    assert first["options"] == ["drug 0A", "drug 0B", "drug 0C", "drug 0D"] and first["answer"] == 0


def test_pubmedqa_form_of_a_world_of_ones_own(tmp_path: Path) -> None:
    one = {"QUESTION": "Does it help?", "CONTEXTS": ["It was tried.", "It did."], "final_decision": "maybe", "LONG_ANSWER": "secret"}
    (tmp_path / "test.json").write_text(json.dumps({"7": one}))
    (item,) = read_benchmark(entry("pubmedqa"), tmp_path).items
    assert (item.id, item.context, item.options[item.answer]) == ("7", "It was tried.\nIt did.", "maybe")


def test_duplicates_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"question": "Q?", "options": {"A": "Same", "B": "same ", "C": "x"}, "answer_idx": "B"}) + "\n")
    integrity = read_benchmark(entry("medqa"), path).integrity
    assert integrity is not None and integrity["release"] is None
    assert (integrity["duplicate_options"], integrity["ambiguous_gold"]) == (1, 1)


@pytest.mark.parametrize(("line", "says"), [
    ('{"question": "Q?", "options": {"A": "x", "B": "y"}, "answer_idx": "C"}', "line 1"),
    ('{"question": "Q?", "options": {"A": "x", "C": "y"}, "answer_idx": "A"}', "without a gap"),
    ('{"question": "", "options": {"A": "x", "B": "y"}, "answer_idx": "A"}', "empty"),
    ("{torn", "line 1: not valid JSON"),
    ("", "no questions"),
])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(Refusal, match=says) as refusal:
        read_benchmark(entry("medqa"), path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_training_question_that_is_in_the_test_is_left_out_of_training(questions: Path, more_questions: Callable[..., str]) -> None:
    (questions / "train.jsonl").write_text(more_questions(5, start=18))
    benchmark = read_benchmark(entry("medqa"), questions, questions)
    assert benchmark.integrity is not None and benchmark.integrity["train_left_out"] == 2
    assert len(benchmark.train) == 3 and not {item.question for item in benchmark.train} & {item.question for item in benchmark.items}
    (questions / "train.jsonl").write_text(more_questions(2, start=18))
    with pytest.raises(Refusal, match="every training question is also in the test"):
        read_benchmark(entry("medqa"), questions, questions)


def test_questions_of_one_vignette_or_context_share_a_cluster(tmp_path: Path) -> None:
    vignette = "A man of 50 has had a fever for three days. He has taken aspirin and feels no better now than he did before. "
    asked = [vignette + "What is it?", vignette.upper() + "What next?", "A short one. What is it?", "A short one. What next?"]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps({"question": text, "options": ["x", "y"], "answer": "x"}) + "\n" for text in asked))
    first, second, *rest = (item.cluster for item in read_benchmark(entry("medqa"), path).items)
    assert first is not None and first == second and rest == [None, None]
    rows = [{"QUESTION": f"Does {drug}?", "CONTEXTS": [paper], "final_decision": "no"}
            for drug, paper in [("a", "p"), ("b", "p"), ("c", "q")]]
    (tmp_path / "test.json").write_text(json.dumps({str(number): row for number, row in enumerate(rows)}))
    first, second, third = (item.cluster for item in read_benchmark(entry("pubmedqa"), tmp_path / "test.json").items)
    assert first is not None and first == second and third is None


def test_shots_need_training_questions(questions: Path) -> None:
    with pytest.raises(Refusal, match="lower shots"):
        read_benchmark(entry("medqa", shots=7), questions, questions)
    with pytest.raises(Refusal, match="TruthfulQA has no training questions"):
        truthfulqa.read(questions, "train")


def test_two_questions_under_one_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    path.write_text('{"a": {"question": "q", "options": {"A": "x", "B": "y"}, "answer_idx": "A"},'
                    ' "a": {"question": "r", "options": {"A": "x", "B": "y"}, "answer_idx": "B"}}')
    with pytest.raises(Refusal, match="'a' stands twice"):
        read_benchmark(recipe.Benchmark(name="m", kind="medqa", path=""), path)
