"""Our answers in the files that lm-eval writes: results_*.json and samples_*.jsonl, as its version 0.4.13 has them.

Where a question was posed in our own task's words (see task_files.py), its document, prompt and target carry the digests that lm-eval
itself would give them, so that answers of both sides can be held against each other question by question.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any

from ...ledger import Refusal
from ...ledger.files import write_json, write_text
from ..asking import SENTENCE, block, completions, demonstrations, turned
from ..benchmarks import Benchmark, Item
from ..scores import choose
from .documents import document, task_name

if TYPE_CHECKING:
    from ...recipe import Mode

VERSION = 1.0  # of the tasks in tasks/*.yaml
UNFILTERED = "none"  # what lm-eval calls answers that went through no filter


def write_lm_eval(out: Path, name: str, benchmark: Benchmark, answers_path: Path, figures: dict[str, Any], *, seed: int = 0,
                  date: float = 0.0) -> list[Path]:
    """Write the answers of the model `name` to a benchmark as lm-eval would have, in the folder `out` / name, and return both files.

    `figures` goes along under "medloom". `seed` drew the shots; a prompt whose digest is not the recorded one is left out of its sample.
    `date` is seconds since 1970, in the files' names as well; the default makes equal runs give equal bytes. A further asking of the same
    questions ("seed 432") stands where lm-eval has a filter. Whether an answer would have been written greedily is not known here and
    stands as None. Raises Refusal for answers to other questions.
    """
    task = task_name(benchmark)
    items = {item.id: (number, item) for number, item in enumerate(benchmark.items)}
    samples, shots = [], _Shots(benchmark)
    for number, line in enumerate(Path(answers_path).read_text(encoding="utf-8").split("\n")[:-1], 1):
        answer = json.loads(line)
        if answer["id"] not in items:
            raise Refusal(f"{answers_path}, line {number}: {answer['id']} is no question of {benchmark.name}; "
                          "name the benchmark's own answers")
        samples.append(_sample(benchmark.mode, *items[answer["id"]], answer, shots[_asked(answer, "seed", seed)]))
    if not samples:
        raise Refusal(f"{answers_path}: holds no answers; run the evaluation first")
    folder = Path(out) / _sanitised(name)
    when = datetime.fromtimestamp(date, UTC).isoformat(timespec="microseconds").removesuffix("+00:00").replace(":", "-")
    files = [folder / f"results_{task}_{when}.json", folder / f"samples_{task}_{when}.jsonl"]
    write_text(files[1], "".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples))
    first = samples[0]["filter"]
    hashes = "".join(one["doc_hash"] + one["prompt_hash"] + one["target_hash"] for one in samples if one["filter"] == first)
    metrics: list[str] = samples[0]["metrics"]
    write_json(files[0], {
        "results": {task: {"name": task, "alias": task, "sample_len": len(benchmark.items), **_metrics(samples, metrics)}},
        "group_subtasks": {},
        "configs": {task: {"task": task, "output_type": "multiple_choice" if len(samples[0]["arguments"]) > 1 else "generate_until",
                           "num_fewshot": benchmark.shots, "metadata": {"version": VERSION, "mode": benchmark.mode, "seed": seed}}},
        "versions": {task: VERSION},
        "n-shot": {task: benchmark.shots},
        "higher_is_better": {task: dict.fromkeys(metrics, True)},
        "n-samples": {task: {"original": benchmark.available or len(benchmark.items), "effective": len(benchmark.items)}},
        "config": {"model": "medloom", "model_args": {"model": name}, "limit": None, "bootstrap_iters": 0, "gen_kwargs": None,
                   "fewshot_seed": seed},
        "git_hash": None, "date": date, "model_source": "medloom", "model_name": name, "model_name_sanitized": _sanitised(name),
        "system_instruction": None, "chat_template": None, "task_hashes": {task: _digest(hashes)}, "medloom": figures})
    return files


class _Shots(dict[int, str | None]):
    """The shots of each seed, drawn once; None where there are none to draw, as under a protocol that has shots of its own."""

    def __init__(self, benchmark: Benchmark) -> None:
        super().__init__()
        self._benchmark = benchmark

    def __missing__(self, seed: int) -> str | None:
        try:
            self[seed] = demonstrations(self._benchmark, seed)
        except Refusal:
            self[seed] = None
        return self[seed]


def _sample(mode: Mode, number: int, item: Item, answer: dict[str, Any], shots: str | None) -> dict[str, Any]:
    """One line of samples_*.jsonl."""
    doc = document(item, mode)
    prompt = _prompt(mode, item, answer, shots)
    logprobs = answer["logprobs"]
    scores = {"acc": float(answer["choice"] == answer["gold"])}
    if logprobs is None:
        arguments: list[tuple[Any, ...]] = [(prompt, {})]
        responses: list[Any] = [list(answer.get("texts", ()))]
        filtered: list[Any] = [None if answer["choice"] is None else doc["choices"][answer["choice"]]]
    else:
        asked, turn = completions(item, mode), _asked(answer, "turn", 0)
        arguments = [(prompt, asked[(option - turn) % len(asked)]) for option in range(len(asked))]
        filtered = [[str(value), str(None)] for value in logprobs]
        responses = [[pair] for pair in filtered]
        if doc["choices"] == doc["options"]:
            values = [-math.inf if value is None else value for value in logprobs]
            by_length = [value / len(choice) for value, choice in zip(values, doc["choices"], strict=True)]
            scores["acc_norm"] = float(choose(by_length)[0] == answer["gold"] and answer["choice"] is not None)
    return {
        "doc_id": number, "doc": doc, "target": str(answer["gold"]),
        "arguments": {f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(pair)} for i, pair in enumerate(arguments)},
        "resps": responses, "filtered_resps": filtered, "filter": answer.get("asked") or UNFILTERED, "metrics": list(scores),
        "doc_hash": _digest(json.dumps(doc, indent=2, ensure_ascii=False)), "prompt_hash": answer["prompt_sha256"],
        "target_hash": _digest(str(answer["gold"])), **scores}


def _prompt(mode: Mode, item: Item, answer: dict[str, Any], shots: str | None) -> str | None:
    """The text that was asked, its options turned, without the sentences that did not fit; None where its digest is another's."""
    dropped, turn = answer["dropped"], _asked(answer, "turn", 0)
    context, question = SENTENCE.findall(item.context or ""), SENTENCE.findall(item.question)
    if dropped:
        item = replace(item, context="".join(context[dropped:]) or None, question="".join(question[max(0, dropped - len(context)):]))
    text = (shots or "") + block(turned(item, turn), mode)
    return text if _digest(text) == answer["prompt_sha256"] else None


def _asked(answer: dict[str, Any], what: str, otherwise: int) -> int:
    """The number in an asking's name, such as "seed 432" or "turn 2", where it is a number of that."""
    name, _, number = (answer.get("asked") or "").partition(" ")
    return int(number) if name == what and number.lstrip("-").isdigit() else otherwise


def _metrics(samples: Sequence[dict[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    """Means and their standard errors, that of a sample's mean, for each asking."""
    found: dict[str, Any] = {}
    for asked in dict.fromkeys(sample["filter"] for sample in samples):
        for metric in metrics:
            values = [sample[metric] for sample in samples if sample["filter"] == asked]
            found[f"{metric},{asked}"] = math.fsum(values) / len(values)
            found[f"{metric}_stderr,{asked}"] = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else "N/A"
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _sanitised(name: str) -> str:
    """A model's name as lm-eval makes a folder's name of it."""
    return "".join("_" if letter in '"<>:/|\\?*[]' or letter.isspace() else letter for letter in name)
