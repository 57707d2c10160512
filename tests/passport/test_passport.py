"""The passport finds what was read, misses nothing that it samples, and errs as rarely as it states."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.passport import EMPTY, FILE, contamination, join_sketches, read_questions, read_sketch, sampling_for, sketch_of, write_sketch
from medloom.passport.contamination import CONTAMINATED
from medloom.passport.ngrams import distinct
from medloom.passport.sketch import Sketch, as_entries, bits_for, sample, sampled


def prose(number: int, length: int) -> str:
    """Words of which no two numbers share eight in a row."""
    return "The patient was given " + " ".join(f"w{n}" for n in np.random.default_rng(number).integers(0, 3000, length)) + "."


def written(texts: list[str], path: Path, sampling: int = 1) -> Sketch:
    numbers, words = sample(texts, sampling)
    bits = bits_for(len(numbers))
    write_sketch(path, distinct(as_entries(numbers, sampling, bits)), sampling=sampling, bits=bits, words=words, documents=len(texts))
    return read_sketch(path)


def questions(texts: list[str], path: Path) -> Path:
    path.write_text("\n".join(json.dumps({"id": f"q{n}", "question": text}) for n, text in enumerate(texts)))
    return path


@pytest.mark.parametrize("sampling", [1, 4, 64])
def test_what_was_read_is_found_and_what_was_not_is_not(sampling: int, tmp_path: Path) -> None:
    corpus = [prose(n, 100) for n in range(500)]
    sketch = written(corpus, tmp_path / FILE, sampling)
    asked = [prose(n, 100) for n in range(0, 500, 10)] + [prose(n, 100) for n in range(10_000, 10_050)]
    found = contamination(sketch, read_questions(questions(asked, tmp_path / "q.jsonl")))
    read = {row["id"]: row["share"] for row in found.rows}
    assert all(share == 1 for name, share in read.items() if int(name[1:]) < 50), "nothing that it samples is missed"
    assert sum(share > 0 for name, share in read.items() if int(name[1:]) >= 50) <= 1
    assert found.contaminated == sum(share >= CONTAMINATED for share in read.values())
    if sampling == 1:
        assert found.tested == 100 and found.contaminated == 50
    assert found.ngrams == pytest.approx(100 * 97 / sampling, rel=0.4)
    assert found.low is not None and found.high is not None and found.low <= 0.5 <= found.high


def test_phrases_of_everybody_are_no_evidence(tmp_path: Path) -> None:
    common = "Which of the following is the most likely diagnosis in this patient?"
    sketch = written([f"An exam asks: {common} And more of it."], tmp_path / FILE)
    found = contamination(sketch, read_questions(questions([f"{prose(n, 20)} {common}" for n in range(10)], tmp_path / "q.jsonl")))
    assert found.found == 0 and found.ngrams > 100


def test_the_stated_error_rate_is_the_measured_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    numbers = np.unique(rng.integers(0, 2**64, 200_000, np.uint64))
    entries = np.unique(as_entries(numbers, 1, 24))
    sketch = Sketch(entries, 8, 1, 24, 0, 0)  # eight bits fewer than it would be given, so that errors can be counted
    unread = rng.integers(0, 2**64, 400_000, np.uint64)
    assert sketch.holds(unread).mean() == pytest.approx(sketch.false_positive_rate, rel=0.05)
    assert sketch.holds(numbers).all()
    assert len(entries) / 2.0 ** bits_for(len(entries)) <= 2**-16


def test_the_file_is_small_and_its_budget_holds(tmp_path: Path) -> None:
    corpus = [prose(n, 400) for n in range(1000)]
    words = 1000 * 405
    sampling = sampling_for(words, 0.1)
    written(corpus, tmp_path / FILE, sampling)
    assert sampling == 16 and (tmp_path / FILE).stat().st_size <= 100_000


def test_passports_join_however_coarse_they_are(tmp_path: Path) -> None:
    one, other = [prose(n, 100) for n in range(200)], [prose(n, 100) for n in range(1000, 1200)]
    fine, coarse = written(one, tmp_path / "a.parquet"), written(other, tmp_path / "b.parquet", 4)
    join_sketches([fine, coarse, sketch_of([prose(5000, 100)], fine)], tmp_path / FILE)
    joined = read_sketch(tmp_path / FILE)
    assert (joined.sampling, joined.documents) == (4, 401)
    for text in (one[3], other[3], prose(5000, 100)):
        numbers, _ = sample([text], 4)
        assert len(numbers) and joined.holds(numbers).all()
    assert not joined.holds(sample([prose(7777, 100)], 4)[0]).any()
    join_sketches([sketch_of(one, EMPTY)], tmp_path / "c.parquet")
    assert read_sketch(tmp_path / "c.parquet").holds(sample(one, 1)[0]).all()


def test_sampling_takes_its_share() -> None:
    grams = np.random.default_rng(2).integers(0, 2**64, 100_000, np.uint64)
    assert len(sampled(grams, 1)) == 100_000 and len(sampled(grams, 8)) == pytest.approx(12_500, rel=0.05)
    assert set(sampled(grams, 8).tolist()) < set(sampled(grams, 4).tolist())


@pytest.mark.parametrize(("path", "count"), [
    ("medqa/us_4opt_test.jsonl", 1273), ("medqa/us_4opt_dev.hpai.json", None), ("medmcqa/dev.jsonl", 4183),
    ("pubmedqa/ori_pqal.json", 1000), ("mmlu/test/anatomy_test.csv", 135), ("truthfulqa/TruthfulQA.csv", 790)])
def test_every_real_benchmark_can_be_read(path: str, count: int | None, shared: Path) -> None:
    found = read_questions(shared / "benchmarks" / path)
    assert len(found) == count if count else len(found) > 100
    assert len({question.id for question in found}) > 0.9 * len(found)
    assert np.median([len(question.text.split()) for question in found]) >= 7


def test_a_real_question_in_the_corpus_is_found(shared: Path, tmp_path: Path) -> None:
    asked = read_questions(shared / "benchmarks/medqa/us_4opt_test.jsonl")
    leaked = [question.text for question in asked[:100]]
    abstract = next((shared / "corpus/guidelines_txt").rglob("*.txt")).read_text(encoding="utf-8", errors="replace")
    sketch = written([f"Solved: {text}" for text in leaked] + [abstract], tmp_path / FILE)
    found = contamination(sketch, asked)
    assert found.contaminated == 100
    clean = contamination(sketch, read_questions(shared / "benchmarks/truthfulqa/TruthfulQA.csv"))
    assert clean.contaminated == 0


def test_bad_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no contamination passport here"):
        read_sketch(tmp_path)
    (tmp_path / FILE).write_bytes(b"PAR1 but no more")
    with pytest.raises(Refusal, match="not a contamination passport"):
        read_sketch(tmp_path)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(Refusal, match=r"bad\.jsonl, line 1: not valid JSON"):
        read_questions(tmp_path / "bad.jsonl")
    (tmp_path / "odd.jsonl").write_text('{"stem": "what"}\n')
    with pytest.raises(Refusal, match="--field"):
        read_questions(tmp_path / "odd.jsonl")
    assert read_questions(tmp_path / "odd.jsonl", ("stem",))[0].text == "what"
