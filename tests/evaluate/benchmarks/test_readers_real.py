"""Readers against the real releases: counts that the papers publish, and the hub's form of the same questions read alike."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medloom import recipe
from medloom.evaluate import read_benchmark
from medloom.evaluate.benchmarks import medmcqa, medqa, mmlu, pubmedqa, truthfulqa
from medloom.evaluate.benchmarks.benchmark import Benchmark, Item, content_digest
from medloom.ledger import Refusal

COUNTS = {"anatomy": 135, "clinical_knowledge": 265, "college_biology": 144, "college_medicine": 173, "medical_genetics": 100,
          "professional_medicine": 272, "virology": 166, "nutrition": 306, "high_school_biology": 310}


def read(kind: str, path: Path, train: Path | None = None, part: str | None = None) -> tuple[Benchmark, dict[str, Any]]:
    benchmark = read_benchmark(recipe.Benchmark.model_validate({"name": kind, "kind": kind, "path": "unused", "part": part}), path, train)
    assert benchmark.integrity is not None
    return benchmark, benchmark.integrity


def save_to_disk(folder: Path, rows: list[dict[str, Any]]) -> None:
    """As `datasets` does: an Arrow stream beside a state.json that names it."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": folder.name}))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize(("options", "form", "count"), [
    (4, "dev.hpai.json", 1272), (5, "dev.tadsligar.json", 1272), (4, "train802.selfbiorag.jsonl", 802),
    (5, "train1000.selfbiorag.jsonl", 1000),
])
def test_medqa_is_read_in_every_form_it_is_passed_on_in(shared: Path, options: int, form: str, count: int) -> None:
    items = medqa.read(shared / f"benchmarks/medqa/us_{options}opt_{form}", "train")
    assert len(items) == len({item.id for item in items}) == len({item.question for item in items}) == count
    assert not any(item.options[0].startswith("A.") or item.question.startswith("Question") for item in items)


def test_medqa_dev_of_two_sources_agrees_on_questions_and_answers(shared: Path) -> None:
    four = medqa.read(shared / "benchmarks/medqa/us_4opt_dev.hpai.json", "train")
    five = medqa.read(shared / "benchmarks/medqa/us_5opt_dev.tadsligar.json", "train")
    answers = {item.question: item.options[item.answer] for item in five}
    both = [item for item in four if item.question in answers]
    assert len(both) == 1269
    assert sum(answers[item.question] == item.options[item.answer] for item in both) == 1265  # the other four stand in quotation marks


def test_medqa_of_the_hub_and_of_bigbio_are_the_same_release(shared: Path, tmp_path: Path) -> None:
    source = shared / "benchmarks/medqa/us_4opt_test.jsonl"
    rows, digest = lines(source), content_digest(medqa.read(source, "test"))
    pq.write_table(pa.Table.from_pylist([{key: row[key] for key in ("question", "answer", "options", "answer_idx")} for row in rows]),
                   tmp_path / "test-00000-of-00001.parquet")
    assert content_digest(medqa.read(tmp_path, "test")) == digest
    pairs = [{**row, "options": [{"key": key, "value": text} for key, text in row["options"].items()], "metamap_phrases": None}
             for row in rows]
    save_to_disk(tmp_path / "bigbio/test", pairs)
    (tmp_path / "bigbio/dataset_dict.json").write_text('{"splits": ["test"]}')
    assert content_digest(medqa.read(tmp_path / "bigbio", "test")) == digest


def test_medmcqa_validation(shared: Path) -> None:
    place = shared / "benchmarks/medmcqa"
    benchmark, said = read("medmcqa", place, place / "train10k.hpai.json")
    assert (said["questions"], said["release"], said["numbering"]) == (4183, "MedMCQA, validation (4183)", "from 1")
    assert (said["duplicate_options"], said["ambiguous_gold"]) == (21, 4)
    assert (said["explanations"], said["leaking_explanations"]) == (2206, 1089)
    assert len(benchmark.train) + said["train_left_out"] == 10_000
    assert len(said["groups"]) == 21
    multi, single = (medmcqa.read(place, "test", part) for part in ("multi", "single"))
    assert (len(multi), len(single)) == (1367, 2816)


def test_medmcqa_of_the_hub_counts_from_0_and_is_the_same_release(shared: Path, tmp_path: Path) -> None:
    place = shared / "benchmarks/medmcqa"
    rows = [{**row, "cop": row["cop"] - 1} for row in lines(place / "dev.jsonl")]
    (tmp_path / "data").mkdir()
    for shard, half in enumerate((rows[:2000], rows[2000:])):
        pq.write_table(pa.Table.from_pylist(half), tmp_path / f"data/validation-0000{shard}-of-00002.parquet")
    items = medmcqa.read(tmp_path, "test")
    assert [item.answer for item in items] == [item.answer for item in medmcqa.read(place, "test")]
    assert medmcqa.examine(tmp_path, "test")[1] == {"numbering": "from 0"}
    (tmp_path / "data/validation-00000-of-00002.parquet").unlink()
    with pytest.raises(Refusal, match="1 of the 2 files"):
        medmcqa.read(tmp_path, "test")


@pytest.mark.parametrize(("cops", "says"), [
    ([1, 2, 3], "neither 0 nor 4"), ([0, 4], "both 0"), ([-1, -1], "line 1: .*withholds its answers"), ([None], "withholds its answers"),
])
def test_medmcqa_whose_numbering_is_not_told_is_refused(tmp_path: Path, cops: list[Any], says: str) -> None:
    path = tmp_path / "dev.jsonl"
    options = {"opa": "w", "opb": "x", "opc": "y", "opd": "z"}
    path.write_text("".join(json.dumps({"question": f"Q{number}?", "cop": cop, **options}) + "\n" for number, cop in enumerate(cops)))
    with pytest.raises(Refusal, match=says):
        medmcqa.read(path, "test")


def test_medmcqa_letters_cure_an_untold_numbering(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text(json.dumps({"question": "Q?", "cop": "b", "opa": "w", "opb": "x", "opc": "y", "opd": "z"}))
    (item,) = medmcqa.read(tmp_path, "test")
    assert item.options[item.answer] == "x"


def test_mmlu_subjects(shared: Path) -> None:
    place = shared / "benchmarks/mmlu"
    benchmark, said = read("mmlu", place, place)
    assert said["groups"] == COUNTS and said["questions"] == 1871
    assert said["release"] == "MMLU, nine medical subjects, test (1871)"
    # Five questions that clinical_knowledge and college_medicine give as shots stand in the other's test.
    assert (said["train_left_out"], len(benchmark.train)) == (5, 40)
    medicine = Counter(item.answer for item in benchmark.items if item.group == "professional_medicine")
    assert medicine[3] / 272 == pytest.approx(0.449, abs=5e-4)
    six, said = read("mmlu", place, part="six")
    assert len(six.items) == 1089 and said["release"] == "MMLU, six medical subjects, test (1089)"
    assert len(mmlu.read(place, "test", "human_aging")) == 223
    assert len(mmlu.read(place / "test/virology_test.csv", "test")) == 166
    with pytest.raises(Refusal, match=r"no test questions of surgery, but of: anatomy, .*six"):
        mmlu.read(place, "test", "surgery")


def test_mmlu_without_a_header_loses_no_question_and_the_hub_reads_alike(shared: Path, tmp_path: Path) -> None:
    place = shared / "benchmarks/mmlu"
    digest = content_digest(mmlu.read(place, "test"))
    rows: list[dict[str, Any]] = []
    (tmp_path / "bare").mkdir()
    for subject in COUNTS:
        items = mmlu.read(place, "test", subject)
        with (tmp_path / f"bare/{subject}_test.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([[item.question, *item.options, "ABCD"[item.answer]] for item in items])
        rows += [{"question": item.question, "subject": subject, "choices": list(item.options), "answer": item.answer} for item in items]
    assert content_digest(mmlu.read(tmp_path / "bare", "test")) == digest
    (tmp_path / "hub/all").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "hub/all/test-00000-of-00001.parquet")
    assert content_digest(mmlu.read(tmp_path / "hub", "test")) == digest


def test_mmlu_names_the_line_that_is_torn(tmp_path: Path) -> None:
    (tmp_path / "virology_test.csv").write_text("Q one?,a,b,c,d,A\nQ two?,a,b,c,A\n")
    with pytest.raises(Refusal, match=r"virology_test\.csv, line 2: has 5 columns and needs 6"):
        mmlu.read(tmp_path, "test", "virology")


def test_pubmedqa_of_the_hub_needs_the_list_of_test_ids(shared: Path, tmp_path: Path) -> None:
    place = shared / "benchmarks/pubmedqa"
    raw = json.loads((place / "ori_pqal.json").read_text())
    rows = [{"pubid": int(pmid), "question": row["QUESTION"], "final_decision": row["final_decision"], "long_answer": row["LONG_ANSWER"],
             "context": {"contexts": row["CONTEXTS"], "labels": row["LABELS"], "meshes": row["MESHES"]}} for pmid, row in raw.items()]
    (tmp_path / "pqa_labeled").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pqa_labeled/train-00000-of-00001.parquet")
    with pytest.raises(Refusal, match=r"test_ground_truth\.json"):
        pubmedqa.read(tmp_path, "test")
    (tmp_path / "test_ground_truth.json").write_bytes((place / "test_ground_truth.json").read_bytes())
    for split in ("test", "train"):
        assert content_digest(pubmedqa.read(tmp_path, split)) == content_digest(pubmedqa.read(place, split))


def test_truthfulqa_parts(shared: Path) -> None:
    place = shared / "benchmarks/truthfulqa"
    one, many, pair = (truthfulqa.read(place, "test", part) for part in ("mc1", "mc2", "binary"))
    groups = [Counter(item.group for item in items) for items in (one, many, pair)]
    assert groups == [{"Health": 55, "Nutrition": 16, "Psychology": 19, "Science": 9}] * 3
    raw = {row["question"]: row["mc2_targets"] for row in json.loads((place / "v1_mc_task.json").read_text())}
    assert all({item.options[place] for place in item.true} == {text for text, value in raw[item.question].items() if value}
               for item in many)
    assert all(item.answer == item.true[0] for item in many) and not any(item.true for item in one)
    assert {len(item.options) for item in pair} == {2}
    assert read("truthfulqa", place, part="binary")[1]["release"] == "TruthfulQA of 2025, medical categories, binary (99)"
    with pytest.raises(Refusal, match="mc1, mc2, binary"):
        truthfulqa.read(place, "test", "mc3")


def test_the_worked_example_of_the_documentation_runs(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/benchmarks.md").read_text(encoding="utf-8")
    block = text.split("```python\n")[1].split("```")[0]
    space: dict[str, Any] = {}
    exec(compile(block, "docs/benchmarks.md", "exec"), space)
    path = tmp_path / "test.csv"
    path.write_text("stem,first,second,right\nIs aspirin an anticoagulant?,yes,no,2\n")
    assert space["read"](path, "test") == (Item(id="test-00001", question="Is aspirin an anticoagulant?", options=("yes", "no"), answer=1),)
    path.write_text("stem,first,second,right\nIs aspirin an anticoagulant?,yes,no,3\n")
    with pytest.raises(Refusal, match="line 2"):
        space["read"](path, "test")
