"""The exchange with lm-eval: the same questions give the same numbers, whoever asks and whoever computes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medloom.evaluate import Benchmark, Item, TorchEngine, answer
from medloom.evaluate.asking.prompts import block, completions, demonstrations
from medloom.evaluate.harness import write_lm_eval, write_tasks
from medloom.evaluate.scores.scoring import read_answers
from medloom.ledger import Refusal, Silent

SEED = 7
PYTHON = Path(os.environ.get("MEDLOOM_PEERS_EVAL", "/opt/peers-eval/bin/python"))
HERE = Path(__file__).resolve()

LISTED = tuple(Item(id=f"q{n}", question=" ".join(f"The patient has a fever of {n + i}." for i in range(1 + n % 3)) + f" Which is it {n}?",
                    options=tuple(f"drug {n}{letter}" for letter in "ABCDE"[:4 + n % 2]), answer=n % 4) for n in range(7))
TRAIN = tuple(Item(id=f"t{n}", question=f"The patient takes the drug {n}. Which?", options=tuple(f"drug {letter}" for letter in "ABCD"),
                   answer=n % 4) for n in range(6))
# Words of one token each in this tokenizer, as yes, no and maybe are in those of real models.
WORDS = tuple(Item(id=str(n), question=f"Does the drug {n} help? {{{{ 7*7 }}}}", options=("answer", "no", "maybe"), answer=n % 3,
                   lettered=False, context=None if n == 4 else f"The patient takes the drug {n}.\nThe fever is {n} µg.") for n in range(5))
TEXTS = tuple(Item(id=str(n), question=f"What is the answer {n}?", answer=n % 2,
                   options=("one fever", f"the drug once a day {n}", "maybe")[:2 + n % 2]) for n in range(5))
BENCHMARKS = (Benchmark("medqa", LISTED, TRAIN, 3), Benchmark("pubmed qa", WORDS[:4], WORDS[4:], 1),
              Benchmark("texts", TEXTS, mode="option-text", available=9))
TASKS = ["medloom_medqa", "medloom_pubmed_qa", "medloom_texts"]

# Tasks of lm-eval's other kinds, to be scored by its model and by ours.
# This untrained network repeats the last token: the first two ends it writes itself, the others not, or not all.
TEXTS_IN_TWO = [("The answer is: A.", "..."), ("no or maybe", " maybe maybe"), ("yes", "es fever"), ("a fever", " answer"),
                ("Which of the following is", " the answer? Yes, no or maybe." * 22)]
OTHERS = {
    "rolling": {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{begin}}{{end}}",
                "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}]},
    "last_word": {"output_type": "loglikelihood", "doc_to_text": "{{begin}}", "doc_to_target": "{{end[:20]}}",
                  "target_delimiter": "", "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}]},
    "written": {"output_type": "generate_until", "doc_to_text": "{{begin}}", "doc_to_target": "{{end}}",
                "generation_kwargs": {"until": ["be m", "zz"], "max_gen_toks": 12}, "metric_list": [{"metric": "exact_match"}]},
    "no_context": {"output_type": "multiple_choice", "doc_to_text": "", "doc_to_target": 0, "target_delimiter": "",
                   "doc_to_choice": ["The drug", "A fever"], "metric_list": [{"metric": "acc"}]},
}


def run(place: Path, runs: list[dict[str, Any]], files: list[list[str]], key: str) -> dict[str, Any]:
    """What a Python that has lm-eval makes of these runs and files."""
    if importlib.util.find_spec("lm_eval"):
        python = sys.executable
    elif PYTHON.is_file():
        python = str(PYTHON)
    else:
        pytest.skip(f"lm-eval is neither installed here nor at {PYTHON}; name a Python that has it in MEDLOOM_PEERS_EVAL")
    settings = {"out": str(place / "found.json"), "include": str(place / "tasks"), "source": str(HERE.parents[3] / "src"),
                "site": sysconfig.get_path("purelib"), "runs": runs, "files": files}
    (place / "asked.json").write_text(json.dumps(settings))
    done = subprocess.run([python, str(HERE.with_name("run_lm_eval.py")), str(place / "asked.json")], capture_output=True, text=True,
                          timeout=300, env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "OMP_NUM_THREADS": "1",
                                            "HF_HOME": str(place / "cache"), "MEDLOOM_API_KEY": key})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads((place / "found.json").read_text())
    return found


BY_TASK = ("n-shot", "higher_is_better", "versions")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with our tasks, and others."""
    folder = tmp_path_factory.mktemp("harness")
    assert write_tasks(BENCHMARKS, folder / "tasks", SEED) == TASKS
    (folder / "texts.jsonl").write_text("".join(json.dumps({"begin": begin, "end": end}) + "\n" for begin, end in TEXTS_IN_TWO))
    for name, settings in OTHERS.items():
        (folder / "tasks" / f"{name}.yaml").write_text(json.dumps({
            "task": name, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "texts.jsonl")}},
            "test_split": "test", **settings}))
    return folder


@pytest.fixture(scope="module")
def answered(place: Path, folder: Path) -> dict[str, list[Path]]:
    """Our own answers, in lm-eval's schema."""
    files = {}
    with TorchEngine(folder, "cpu", 4) as engine:
        for task, benchmark in zip(TASKS, BENCHMARKS, strict=True):
            path = place / f"{task}.answers.jsonl"
            figures = answer(engine, benchmark, path, SEED, Silent())
            files[task] = write_lm_eval(place / "ours", "tiny/model", benchmark, path, figures, seed=SEED)
    return files


@pytest.fixture(scope="module")
def found(place: Path, folder: Path, answered: dict[str, list[Path]], llamacpp: tuple[str, str]) -> dict[str, Any]:
    """lm-eval's own model and ours, on our tasks and on others; the kinds of task that generate through a server."""
    ours = {"pretrained": str(folder)}
    runs: list[dict[str, Any]] = [
        {"name": "hf", "model": "hf", "model_args": {**ours, "dtype": "float32"}, "tasks": [*TASKS, *OTHERS]},
        {"name": "server", "model": "medloom", "model_args": {"url": llamacpp[0], "tokenizer": str(folder)},
         "tasks": ["last_word", "written"]},
        {"name": "medloom", "model": "medloom", "model_args": ours, "tasks": [*TASKS, "no_context", "rolling", "last_word", "written"]}]
    return run(place, runs, [[str(path) for path in files] for files in answered.values()], llamacpp[1])


def logprobs(sample: dict[str, Any]) -> list[float]:
    return [float(pair[0]) for pair in sample["filtered_resps"]]


@pytest.mark.slow
def test_lm_eval_reads_our_prompts_and_gives_our_numbers(found: dict[str, Any], place: Path) -> None:
    for task, benchmark in zip(TASKS, BENCHMARKS, strict=True):
        shots = demonstrations(benchmark, SEED)
        ours = read_answers(place / f"{task}.answers.jsonl")
        samples = sorted(found["hf"]["samples"][task], key=lambda sample: sample["doc_id"])
        assert found["hf"]["n-shot"][task] == benchmark.shots
        for item, outcome, sample in zip(benchmark.items, ours, samples, strict=True):
            texts = [[shots + block(item, benchmark.mode), completion] for completion in completions(item, benchmark.mode)]
            assert list(map(list, sample["arguments"])) == texts or [list(pair.values()) for pair in sample["arguments"].values()] == texts
            assert logprobs(sample) == pytest.approx(outcome.logprobs, abs=1e-4)
            assert sample["acc"] == outcome.right
        assert found["hf"]["results"][task]["acc,none"] == pytest.approx(sum(outcome.right for outcome in ours) / len(ours))


@pytest.mark.slow
def test_our_engine_in_lm_eval_gives_its_models_numbers(found: dict[str, Any]) -> None:
    hf, ours = found["hf"], found["medloom"]
    for task in [*TASKS, "no_context"]:
        for theirs, sample in zip(hf["samples"][task], ours["samples"][task], strict=True):
            assert logprobs(sample) == pytest.approx(logprobs(theirs), abs=1e-4)
            assert {key: sample[key] for key in ("doc_hash", "prompt_hash", "target_hash", "acc")} == {
                key: theirs[key] for key in ("doc_hash", "prompt_hash", "target_hash", "acc")}
    for metric in ("word_perplexity,none", "bits_per_byte,none"):  # the second text is longer than the context, so that there are windows
        assert ours["results"]["rolling"][metric] == pytest.approx(hf["results"]["rolling"][metric], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["server", "medloom"])
def test_what_stands_alone_and_what_is_written_are_its_models(found: dict[str, Any], which: str) -> None:
    hf, ours = found["hf"], found[which]
    for theirs, sample in zip(hf["samples"]["last_word"], ours["samples"]["last_word"], strict=True):
        assert logprobs(sample) == pytest.approx(logprobs(theirs), abs=1e-4)
        assert [pair[1] for pair in sample["filtered_resps"]] == [pair[1] for pair in theirs["filtered_resps"]]
    assert ours["results"]["last_word"]["acc,none"] == hf["results"]["last_word"]["acc,none"] == pytest.approx(2 / 5)
    assert ours["samples"]["written"][1]["filtered_resps"] == [" may"]
    for theirs, sample in zip(hf["samples"]["written"], ours["samples"]["written"], strict=True):
        assert sample["filtered_resps"][0].strip() == theirs["filtered_resps"][0].strip()  # theirs has lost its first space


@pytest.mark.slow
def test_our_files_say_what_lm_evals_own_say(found: dict[str, Any], answered: dict[str, list[Path]], place: Path) -> None:
    for task in TASKS:
        results, samples = json.loads(answered[task][0].read_text()), [json.loads(line) for line in answered[task][1].open()]
        written = max((place / "lm-eval").rglob(f"samples_{task}_*.jsonl"), key=lambda path: path.name)  # the last run's, our engine's
        whole = json.loads(max((place / "lm-eval").rglob("results_*.json"), key=lambda path: path.name).read_text())
        theirs = sorted(map(json.loads, written.open()), key=lambda sample: int(sample["doc_id"]))
        for sample, other in zip(samples, theirs, strict=True):
            assert list(sample) == list(other)
            assert {key: sample[key] for key in sample if "resps" not in key} == {key: other[key] for key in other if "resps" not in key}
            assert logprobs(sample) == pytest.approx(logprobs(other), abs=1e-5)
            assert [float(one[0][0]) for one in sample["resps"]] == pytest.approx([float(one[0][0]) for one in other["resps"]], abs=1e-5)
        assert results["task_hashes"] == {task: whole["task_hashes"][task]}
        assert results["results"][task] == pytest.approx(whole["results"][task])
        assert {key: results[key][task] for key in BY_TASK} == {key: whole[key][task] for key in BY_TASK}
        assert f"|{task}" in found["read"][task] and "acc" in found["read"][task]
    assert results["n-samples"]["medloom_texts"] == {"original": 9, "effective": 5}


def test_a_task_is_written_alike_and_refused_where_lm_eval_cannot_ask_it(place: Path, tmp_path: Path) -> None:
    write_tasks(BENCHMARKS, tmp_path, SEED)
    for path in tmp_path.glob("*.jsonl"):
        assert path.read_bytes() == (place / "tasks" / path.name).read_bytes()
    write_tasks(BENCHMARKS, tmp_path, SEED + 1)
    assert (tmp_path / "medloom_medqa_shots.jsonl").read_bytes() != (place / "tasks" / "medloom_medqa_shots.jsonl").read_bytes()
    assert (tmp_path / "medloom_medqa.jsonl").read_bytes() == (place / "tasks" / "medloom_medqa.jsonl").read_bytes()
    with pytest.raises(Refusal, match="chain-of-thought"):
        write_tasks([Benchmark("cot", LISTED, mode="chain-of-thought")], tmp_path, SEED)
    with pytest.raises(Refusal, match="one wording"):
        write_tasks([Benchmark("mixed", LISTED + WORDS)], tmp_path, SEED)
    with pytest.raises(Refusal, match="same task"):
        write_tasks([Benchmark("a b", LISTED), Benchmark("a_b", LISTED)], tmp_path, SEED)


def test_a_generated_answer_keeps_its_texts_and_each_asking_its_own_accuracy(tmp_path: Path) -> None:
    """Two askings, of which the second is right throughout: lm-eval shows them as two filters of one task."""
    benchmark = Benchmark("cot", LISTED[:2], mode="self-consistency")
    lines = [{"id": item.id, "gold": item.answer, "choice": item.answer if asked else None, "options": 4, "logprobs": None, "tie": False,
              "tokens": 9, "prompt_sha256": "0" * 64, "dropped": 0, "group": None, "cluster": None, "asked": asked,
              "texts": ["so it is A", "B"], "votes": [0, 1], "ended": [True, True]} for asked in ("", "seed 432") for item in LISTED[:2]]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results, samples = write_lm_eval(tmp_path, "m", benchmark, tmp_path / "answers.jsonl", {"n": 2}, date=86400.5)
    assert samples.name == "samples_medloom_cot_1970-01-02T00-00-00.500000.jsonl"
    told = json.loads(results.read_text())
    assert {key: told["results"]["medloom_cot"][key] for key in ("acc,none", "acc,seed 432", "acc_stderr,none")} == {
        "acc,none": 0.0, "acc,seed 432": 1.0, "acc_stderr,none": 0.0}
    first, *_, last = map(json.loads, samples.open())
    assert (first["resps"], first["filtered_resps"], last["filtered_resps"]) == ([["so it is A", "B"]], [None], ["B"])
    assert first["arguments"]["gen_args_0"]["arg_0"] is None  # no text of ours has this digest
    with pytest.raises(Refusal, match="no question of other"):
        write_lm_eval(tmp_path, "m", Benchmark("other", LISTED[2:]), tmp_path / "answers.jsonl", {})


def test_a_prompt_that_lost_sentences_is_told_as_it_was_asked(folder: Path, tmp_path: Path) -> None:
    sentences = " ".join(f"The fever is {n}." for n in range(80))
    benchmark = Benchmark("long", (Item(id="long", question="Which is it?", options=("A1", "B2"), answer=0, context=sentences),))
    with TorchEngine(folder, "cpu", 4) as engine:
        answer(engine, benchmark, tmp_path / "answers.jsonl", SEED, Silent())
    assert json.loads((tmp_path / "answers.jsonl").read_text())["dropped"] > 0
    _, samples = write_lm_eval(tmp_path, "m", benchmark, tmp_path / "answers.jsonl", {})
    text = json.loads(samples.read_text())["arguments"]["gen_args_0"]["arg_0"]
    assert text.endswith("The fever is 79.\nQuestion: Which is it?\n\nOptions:\nA. A1\nB. B2\n\nThe answer is:")
    assert "fever is 0." not in text


def test_further_askings_are_told_as_they_were_asked(folder: Path, tmp_path: Path) -> None:
    """Other shots, and turned options: what an argument scores is the option that its log-probability is of."""
    item, others = LISTED[0], demonstrations(BENCHMARKS[0], 432)
    turned = replace(item, options=item.options[1:] + item.options[:1])
    texts = {"seed 432": others + block(item, "top-token"), "turn 1": demonstrations(BENCHMARKS[0], SEED) + block(turned, "top-token")}
    lines = [{"id": item.id, "gold": item.answer, "choice": 0, "options": 4, "logprobs": [-1.0, -2.0, -3.0, -4.0], "tie": False,
              "tokens": 9, "prompt_sha256": hashlib.sha256(text.encode()).hexdigest(), "dropped": 0, "asked": asked}
             for asked, text in texts.items()]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, samples = write_lm_eval(tmp_path, "m", BENCHMARKS[0], tmp_path / "answers.jsonl", {}, seed=SEED)
    told = {sample["filter"]: sample["arguments"] for sample in map(json.loads, samples.open())}
    assert {asked: arguments["gen_args_0"]["arg_0"] for asked, arguments in told.items()} == texts
    assert [pair["arg_1"] for pair in told["seed 432"].values()] == [" A", " B", " C", " D"]
    assert [pair["arg_1"] for pair in told["turn 1"].values()] == [" D", " A", " B", " C"]  # the first is asked last
