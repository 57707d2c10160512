"""Answers of ours and of lm-evaluation-harness, in the form that its 0.4.13 writes, held against each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from medloom.evaluate.rescoring.comparing import compare_files
from medloom.evaluate.rescoring.describe import describe_compare
from medloom.evaluate.rescoring.foreign import read_side
from medloom.evaluate.scores.scoring import Outcome, compare_outcomes
from medloom.ledger import Refusal

DATE = "2026-11-25T07-18-25.687025"


def sample(row: int, chosen: int, target: str | None = None, **more: Any) -> dict[str, Any]:
    """A multiple-choice sample: the right option of row n is n modulo 4, and numbers are written as texts."""
    gold, doc = row % 4, {"question": f"What is {row}?"}
    pairs = [[str(-1.0 if option == chosen else -2.0 - option), "False"] for option in range(4)]
    return {"doc_id": row, "doc": doc, "target": "ABCD"[gold] if target is None else target,
            "arguments": {f"gen_args_{option}": {"arg_0": f"What is {row}?", "arg_1": f" {'ABCD'[option]}"} for option in range(4)},
            "resps": [[pair] for pair in pairs], "filtered_resps": pairs, "filter": "none", "metrics": ["acc", "acc_norm"],
            "doc_hash": hashlib.sha256(json.dumps(doc).encode()).hexdigest(), "prompt_hash": "p", "target_hash": "t",
            "acc": float(chosen == gold), "acc_norm": 0.0, **more}


def written(row: int, filtered: str, target: str, right: bool, name: str = "strict") -> dict[str, Any]:
    """A generate_until sample."""
    return {"doc_id": row, "doc": {"qid": f"q{row}"}, "target": target,
            "arguments": {"gen_args_0": {"arg_0": "?", "arg_1": {"until": ["\n"]}}},
            "resps": [["It is so."]], "filtered_resps": [filtered], "filter": name, "metrics": ["exact_match"], "doc_hash": f"h{row}",
            "prompt_hash": "p", "target_hash": "t", "exact_match": float(right)}


def write(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def answers(path: Path, chosen: Iterable[int | None], **more: Any) -> Path:
    """An answers.jsonl of ours on the same questions."""
    return write(path, ({"id": f"q-{row:05d}", "gold": row % 4, "choice": choice, "options": 4, "logprobs": None, "tie": False, **more}
                        for row, choice in enumerate(chosen)))


def test_two_sample_files_pair_by_the_documents_hash(tmp_path: Path) -> None:
    ours = write(tmp_path / f"samples_medqa_{DATE}.jsonl", [sample(row, row % 4 if row < 30 else 0) for row in range(40)])
    # The other one was asked in another order, without the first four and with four more; its rows count from there.
    base = write(tmp_path / f"samples_usmle_{DATE}.jsonl",
                 [sample(row, row % 4 if row % 3 == 0 else 9) | {"doc_id": row - 4} for row in reversed(range(4, 44))])
    found = compare_files(ours, base)
    (row,) = found["benchmarks"]
    right, other = [r < 30 or r % 4 == 0 for r in range(4, 40)], [r % 3 == 0 for r in range(4, 40)]
    assert (row["benchmark"], row["paired_by"], row["n"], row["chance"]) == ("medqa | usmle", "doc_hash", 36, 0.25)
    assert row["gained"] == sum(a and not b for a, b in zip(right, other, strict=True))
    assert row["lost"] == sum(b and not a for a, b in zip(right, other, strict=True))
    assert (row["unpaired_a"], row["unpaired_a_named"], row["unpaired_b"]) == (4, ["0", "1", "2", "3"], 4)
    assert row["verdict"] == "better" and row["holm_p"] == row["p_value"]
    lines = "\n".join(describe_compare(found))
    assert "medqa | usmle: paired by doc_hash, McNemar test, a true difference of" in lines
    assert "4 questions of a alone are left out, such as 0, 1, 2, 3" in lines


def test_a_comparison_is_that_of_the_same_answers_in_our_own_form(tmp_path: Path) -> None:
    chosen, other = [row // 2 % 4 for row in range(60)], [row // 3 % 4 for row in range(60)]
    theirs = compare_files(write(tmp_path / "samples_x.jsonl", map(sample, range(60), chosen)),
                           write(tmp_path / "samples_y.jsonl", map(sample, range(60), other)))["benchmarks"][0]
    ours = compare_files(answers(tmp_path / "x.jsonl", chosen), answers(tmp_path / "y.jsonl", other))["benchmarks"][0]
    mixed = compare_files(tmp_path / "x.jsonl", tmp_path / "samples_y.jsonl")["benchmarks"][0]
    direct = compare_outcomes(*([Outcome(str(row), row % 4, choice, 4) for row, choice in enumerate(side)] for side in (chosen, other)))
    assert [row["paired_by"] for row in (theirs, ours, mixed)] == ["doc_hash", "id", "doc_id"]
    for row in (theirs, ours, mixed):
        assert {key: row[key] for key in ("n", "gained", "lost", "p_value", "low", "high", "bootstrap_low", "accuracy", "base_accuracy")} \
            == {key: direct.figures()[key] for key in ("n", "gained", "lost", "p_value", "low", "high", "bootstrap_low", "accuracy",
                                                       "base_accuracy")}


def test_all_benchmarks_of_two_result_folders_share_one_correction(tmp_path: Path) -> None:
    for side, luck in (("a", 6), ("b", 0)):
        for task in ("medqa", "mmlu_anatomy", "only_" + side):
            write(tmp_path / side / "org__model" / f"samples_{task}_{DATE}.jsonl",
                  [sample(row, row % 4 if row < luck else (row + 1) % 4) for row in range(20)])
        # An older run of the same task is not looked at, however broken.
        write(tmp_path / side / "org__model" / "samples_medqa_2026-11-24T07-18-25.687025.jsonl", [{"doc_id": 0}])
    found = compare_files(tmp_path / "a", tmp_path / "b")
    assert [(row["benchmark"], row["p_value"], row["holm_p"], row["verdict"]) for row in found["benchmarks"]] == [
        (task, pytest.approx(2 / 64), pytest.approx(4 / 64), "not shown to differ") for task in ("medqa", "mmlu_anatomy")]
    assert (found["only_a"], found["only_b"]) == (["only_a"], ["only_b"])
    assert describe_compare(found)[-2:] == ["in a alone: only_a", "in b alone: only_b"]


def test_each_filter_of_a_generating_task_is_a_benchmark(tmp_path: Path) -> None:
    def lines(wrong: int) -> list[dict[str, Any]]:
        strict = [written(row, "[invalid]" if row < wrong else "yes", "yes" if row % 2 else "no", row >= wrong) for row in range(10)]
        return [*strict, *(line | {"filter": "loose", "filtered_resps": ["It is so."]} for line in strict)]

    found = compare_files(write(tmp_path / "samples_pubmedqa.jsonl", lines(4)), write(tmp_path / "other.jsonl", lines(2)))
    assert [row["benchmark"] for row in found["benchmarks"]] == ["pubmedqa,strict | other,strict", "pubmedqa,loose | other,loose"]
    strict, loose = found["benchmarks"]
    assert (strict["paired_by"], strict["n"], strict["gained"], strict["lost"]) == ("id", 10, 0, 2)
    assert (strict["unparsed"], strict["base_unparsed"], loose["unparsed"]) == (4, 2, 0)
    assert strict["chance"] == 0.5  # two different right answers


def test_forms_of_other_versions_are_read(tmp_path: Path) -> None:
    new = [sample(row, 1) for row in range(8)]
    old = [{**line, "target": row % 4, "filtered_resps": [[float(value), False] for value, _ in line["filtered_resps"]],
            "arguments": [[f"What is {row}?", f" {letter}"] for letter in "ABCD"]} for row, line in enumerate(new)]
    for line in old:
        del line["filter"], line["doc_hash"]
    folder = tmp_path / "old"
    write(folder / "samples_medqa_2024-05-01.jsonl", old)
    found = compare_files(folder, write(tmp_path / "new" / f"samples_medqa_{DATE}.jsonl", new))["benchmarks"][0]
    assert (found["benchmark"], found["paired_by"], found["n"], found["gained"], found["lost"]) == ("medqa", "doc_id", 8, 0, 0)
    nested = [{**written(row, "", "A", False), "filtered_resps": [["[invalid]"]]} for row in range(4)]
    assert all(answer.outcome.choice is None for answer in read_side(write(tmp_path / "nested.jsonl", nested))["nested"])
    with pytest.raises(Refusal, match="line 2: has no field doc_id"):
        read_side(write(tmp_path / "broken.jsonl", [sample(0, 1), {"acc": 1.0}]))


def test_the_metric_can_be_named(tmp_path: Path) -> None:
    ours = write(tmp_path / "a.jsonl", [sample(row, row % 4, acc_norm=0.0) for row in range(8)])
    base = write(tmp_path / "b.jsonl", [sample(row, 0, acc_norm=1.0, f1=0.4) for row in range(8)])
    assert compare_files(ours, base)["benchmarks"][0]["difference"] == 0.75
    assert compare_files(ours, base, metric="acc_norm")["benchmarks"][0]["difference"] == -1.0
    with pytest.raises(Refusal, match=r"b.jsonl, line 1: f1 is 0.4, not 0 or 1; .*--metric \(it has acc, acc_norm\)"):
        read_side(base, metric="f1")


def test_right_options_by_number_and_by_text_are_the_same_right_options(tmp_path: Path) -> None:
    letters = write(tmp_path / "a.jsonl", [sample(row, 1) for row in range(8)])
    numbers = write(tmp_path / "b.jsonl", [sample(row, 2, target=str(row % 4)) for row in range(8)])
    assert compare_files(letters, numbers)["benchmarks"][0]["n"] == 8
    others = write(tmp_path / "c.jsonl", [sample(row, 2, target=str((row + 1) % 4 if row > 4 else row % 4)) for row in range(8)])
    with pytest.raises(Refusal, match=r"paired by doc_hash, 3 of 8 questions hold different answers for right, such as \w+ \(B and 2\)"):
        compare_files(letters, others)


def test_rows_pair_only_where_the_right_answers_agree(tmp_path: Path) -> None:
    samples = write(tmp_path / "samples_medqa.jsonl", [sample(row, 1) for row in range(12)])
    assert compare_files(answers(tmp_path / "whole.jsonl", [0] * 12), samples)["benchmarks"][0]["paired_by"] == "doc_id"
    part = answers(tmp_path / "part.jsonl", [0] * 12)
    part.write_text("".join(part.read_text().splitlines(keepends=True)[1:]))  # a question less: every row tells of the next one
    with pytest.raises(Refusal, match="paired by doc_id, 11 of 11 questions hold different answers for right"):
        compare_files(part, samples)
    unsaid = write(tmp_path / "unsaid.jsonl", [written(row, "x", "free text", False) | {"doc": {}} for row in range(12)])
    with pytest.raises(Refusal, match="only their rows pair the questions"):
        compare_files(answers(tmp_path / "ours.jsonl", [0] * 12), unsaid)


def test_what_does_not_pair_is_refused(tmp_path: Path) -> None:
    ours = answers(tmp_path / "a.jsonl", [0, 1, 2, 3])
    strangers = write(tmp_path / "b.jsonl", ({"id": f"x{row}", "gold": 0, "choice": 0, "options": 4, "tie": False, "asked": "seed 1"}
                                             for row in range(4)))
    with pytest.raises(Refusal, match="0 questions pair by id, doc_hash, doc_id, and a comparison needs 2"):
        compare_files(ours, strangers)
    one = answers(tmp_path / "one.jsonl", [0])
    with pytest.raises(Refusal, match="1 questions pair"):
        compare_files(ours, one)
    for name, says in (("absent", "no such file or folder"), (".", "holds neither evaluations")):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(Refusal, match=says):
            compare_files(ours, tmp_path / "empty" / name)
    with pytest.raises(Refusal, match="neither answers of ours nor samples of lm-eval"):
        compare_files(ours, write(tmp_path / "c.jsonl", [{"question": 1}]))
    twice = write(tmp_path / "d.jsonl", [sample(0, 1), sample(0, 1)])
    with pytest.raises(Refusal, match=r"line 2: answers doc_id 0 again after .*line 1"):
        compare_files(twice, ours)


def test_the_models_of_runs_are_compared_benchmark_by_benchmark(tmp_path: Path) -> None:
    for run, models in (("one", {"base": 0, "fine-tuned": 1}), ("two", {"base": 0})):
        for model, choice in models.items():
            for benchmark in ("medqa-4", "pubmedqa"):
                step = tmp_path / run / "latest" / f"evaluate-{model}-{benchmark}"
                answers(step / "answers.jsonl", [row % 4 if row < 10 + 8 * choice else (row + 1) % 4 for row in range(20)])
                (step / "record.json").write_text(json.dumps({"name": step.name, "params": {"benchmark": {"name": benchmark}}}))
    with pytest.raises(Refusal, match=r"asked several models; name one: .*one@base, .*one@fine-tuned"):
        compare_files(tmp_path / "one", tmp_path / "two")
    with pytest.raises(Refusal, match="asked no model other; it asked base, fine-tuned"):
        compare_files(f"{tmp_path / 'one'}@other", tmp_path / "two")
    found = compare_files(f"{tmp_path / 'one'}@fine-tuned", tmp_path / "two")
    assert [(row["benchmark"], row["gained"], row["lost"], row["verdict"]) for row in found["benchmarks"]] == [
        ("medqa-4", 8, 0, "better"), ("pubmedqa", 8, 0, "better")]
    step = tmp_path / "two" / "latest" / "evaluate-base-pubmedqa"
    assert compare_files(step, step / "answers.jsonl")["benchmarks"][0]["benchmark"] == "pubmedqa"
    (step / "record.json").unlink()
    with pytest.raises(Refusal, match=r"record\.json: no record of an evaluation"):
        compare_files(tmp_path / "two", step)


def test_results_of_several_models_are_not_mixed(tmp_path: Path) -> None:
    for model, task in (("m1", "medqa"), ("m2", "mmlu")):
        write(tmp_path / model / f"samples_{task}_{DATE}.jsonl", [sample(0, 1)])
    with pytest.raises(Refusal, match=r"the samples of several models; name one of .*m1, .*m2"):
        read_side(tmp_path)
