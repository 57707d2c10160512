"""Per-question files of others and of our own, brought to one form so that they can be held against each other.

Of lm-evaluation-harness (0.4.x) it is `samples_<task>_<date>.jsonl`, written with `--log_samples`: doc_id, doc, target, arguments, resps,
filtered_resps, filter, doc_hash and the metrics by name. Numbers stand there as texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ...ledger.files import read_json
from ..benchmarks import LETTERS
from ..scores import Outcome, read_answers, whose
from .labels import LETTER, whole
from .records import field, read_records

RECORD = "record.json"
METRICS = ("acc", "exact_match", "acc_norm")  # what tells right from wrong, the first that a file has
NAMES = ("id", "qid", "question_id", "pmid", "pubid", "PMID")  # where datasets keep a question's own name
UNREAD = ("", "[invalid]")  # what lm-eval's filters leave of an answer that they could not read
SAMPLES = re.compile(r"samples_(?P<task>.+?)(_(?P<date>\d{4}-\d{2}-\d{2}(T[\d.:-]+)?))?\.jsonl\Z")


@dataclass(frozen=True)
class Answered:
    """One question as somebody's file tells of it: how it was answered and the names that it may be found by elsewhere.

    `keys` maps a kind of name (id, doc_hash, doc_id) to it. `number` is that of the right option, where the file tells it, and `label` what
    the file calls right; the outcome's own option numbers mean nothing beyond right, wrong and unread where `number` is None.
    """

    outcome: Outcome
    keys: Mapping[str, str]
    number: int | None
    label: str | None


def read_side(place: Path, metric: str | None = None) -> dict[str, list[Answered]]:
    """The answers in a file, a run folder, or a folder of lm-eval results, by benchmark.

    A run folder that asked several models needs one of them named: `RUN@MODEL`. Of lm-eval's samples of one task the newest are taken;
    where a task has several filters, each is a benchmark of its own, `task,filter`. Raises Refusal where nothing of the kind is there.
    """
    path, _, model = (str(place), "", "") if Path(place).exists() else str(place).rpartition("@")
    root = Path(path or model)
    if root.is_file():
        return read_any(root, metric)
    if not root.is_dir():
        raise Refusal(f"{place}: no such file or folder; name an answers.jsonl, a run folder, an lm-eval samples file or a folder of them")
    if (root / "answers.jsonl").is_file():
        return read_any(root / "answers.jsonl", metric)
    if models := _by_model(root):
        return {benchmark: read_own(file) for benchmark, file in _chosen(root, models, model).items()}
    newest: dict[str, tuple[str, Path]] = {}
    for file in sorted(root.rglob("samples_*.jsonl")):
        if found := SAMPLES.match(file.name):
            newest[found["task"]] = max(newest.get(found["task"], ("", file)), (found["date"] or "", file))
    if not newest:
        raise Refusal(f"{place}: holds neither evaluations of ours nor samples_*.jsonl of lm-eval (written with --log_samples)")
    if len(owners := {file.parent for _, file in newest.values()}) > 1:
        raise Refusal(f"{place}: holds the samples of several models; name one of {', '.join(sorted(map(str, owners)))}")
    return {name: answers for _, (_, file) in sorted(newest.items()) for name, answers in read_any(file, metric).items()}


def read_any(path: Path, metric: str | None = None) -> dict[str, list[Answered]]:
    """The answers in one file, ours or lm-eval's, told by its first line."""
    records = read_records(path)
    if "choice" in records[0][1] and "gold" in records[0][1]:
        beside = path.with_name(RECORD)
        return {whose(read_json(beside), beside)[1] if beside.is_file() else path.stem: read_own(path)}
    if "doc_id" not in records[0][1]:
        raise Refusal(f"{path}: neither answers of ours nor samples of lm-eval; `medloom rescore` reads other forms")
    named = SAMPLES.match(path.name)
    task = named["task"] if named else path.stem
    filters: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for where, record in records:
        filters.setdefault(str(record.get("filter", "none")), []).append((where, record))
    return {task if len(filters) == 1 else f"{task},{name}": _samples(lines, metric) for name, lines in filters.items()}


def read_own(path: Path) -> list[Answered]:
    """Our own answers; the place of a question in the file may be its doc_id elsewhere, as lm-eval counts a dataset's rows."""
    outcomes = read_answers(path)
    places: dict[str, int] = {}
    for outcome in outcomes:
        places.setdefault(outcome.id, len(places))
    return [Answered(outcome, {"id": outcome.id, "doc_id": str(places[outcome.id])}, outcome.gold, None) for outcome in outcomes]


def _samples(records: Sequence[tuple[str, Mapping[str, Any]]], metric: str | None) -> list[Answered]:
    targets = sorted({str(record.get("target")) for _, record in records})
    answers = [_sample(record, where, metric, targets) for where, record in records]
    seen: dict[str, str] = {}
    for (where, _), answer in zip(records, answers, strict=True):
        if (earlier := seen.setdefault(answer.outcome.id, where)) != where:
            raise Refusal(f"{where}: answers doc_id {answer.outcome.id} again after {earlier}; two runs were written to one file")
    return answers


def _sample(record: Mapping[str, Any], where: str, metric: str | None, targets: Sequence[str]) -> Answered:
    name = metric or next((name for name in METRICS if name in record), None)
    measured = record.get(name) if name else None
    try:
        right = {0.0: False, 1.0: True}[float(measured)]  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        had = ", ".join(map(str, record.get("metrics", []))) or "none"
        raise Refusal(f"{where}: {name or 'the metric'} is {measured!r}, not 0 or 1; name one that tells right from wrong with --metric "
                      f"(it has {had})") from None
    target, doc = str(record.get("target")), record.get("doc")
    logprobs = _option_logprobs(record)
    number = _gold_number(target, record, logprobs)
    options = len(logprobs) if logprobs else max(2, len(targets))
    gold = number if number is not None and number < options else 0
    unread = logprobs is None and not right and all(text in UNREAD for text in _texts(record.get("filtered_resps", "?")))
    outcome = Outcome(str(field(record, "doc_id", where)), gold, gold if right else None if unread else (gold + 1) % options, options)
    own = next((doc[key] for key in NAMES if doc.get(key) not in (None, "")), None) if isinstance(doc, Mapping) else None
    keys = {"doc_id": outcome.id, "id": own, "doc_hash": record.get("doc_hash")}
    return Answered(outcome, {kind: str(key) for kind, key in keys.items() if key is not None}, number, target)


def _texts(response: Any) -> list[str]:
    """The texts of a response, which versions nest by one list or two."""
    return [text for part in response for text in _texts(part)] if isinstance(response, list) else [str(response).strip()]


def _option_logprobs(record: Mapping[str, Any]) -> list[float] | None:
    """The options' log-likelihoods of a multiple-choice sample, [[log-likelihood, is greedy], …]; None for a text."""
    found = record.get("filtered_resps")
    if not isinstance(found, list) or len(found) < 2 or not all(isinstance(pair, list) and len(pair) == 2 for pair in found):
        return None
    try:
        return [float(pair[0]) for pair in found]
    except (TypeError, ValueError):
        return None


def _gold_number(target: str, record: Mapping[str, Any], logprobs: Sequence[float] | None) -> int | None:
    """The number of the right option: the target itself, its place among the continuations that were scored, or its letter."""
    if logprobs is not None and (number := whole(target)) is not None:
        return number if 0 <= number < len(logprobs) else None
    if logprobs is not None:
        arguments = record.get("arguments")
        calls = list(arguments.values()) if isinstance(arguments, Mapping) else arguments if isinstance(arguments, list) else []
        asked = [str(list(call.values())[1] if isinstance(call, Mapping) else call[1]).strip() for call in calls if len(call) > 1]
        if asked.count(target.strip()) == 1:
            return asked.index(target.strip())
    letter = LETTER.match(target.strip())
    return LETTERS.index(letter[1].upper()) if letter else None


def _by_model(root: Path) -> dict[str, dict[str, Path]]:
    """The answers of a run folder, by model and by benchmark."""
    models: dict[str, dict[str, Path]] = {}
    for file in sorted([*root.glob("latest/evaluate-*/answers.jsonl"), *root.glob("evaluate-*/answers.jsonl")]):
        owner, benchmark = whose(read_json(file.with_name(RECORD)), file.with_name(RECORD))
        models.setdefault(owner, {})[benchmark] = file
    return models


def _chosen(root: Path, models: Mapping[str, dict[str, Path]], model: str) -> dict[str, Path]:
    if model and model not in models:
        raise Refusal(f"{root}: asked no model {model}; it asked {', '.join(sorted(models))}")
    if not model and len(models) > 1:
        raise Refusal(f"{root}: asked several models; name one: {', '.join(f'{root}@{name}' for name in sorted(models))}")
    return models[model] if model else next(iter(models.values()))
