"""From a recipe's entry to a benchmark: which reader, which split, how many; and the questions as plain JSONL.

A new benchmark is a file of its own with `read(path, split, part) -> tuple[Item, ...]` and a line in READERS.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ledger import Refusal
from ...ledger.files import write_text
from . import medmcqa, medqa, mmlu, pubmedqa, truthfulqa
from .benchmark import Benchmark, Item, inspect
from .vignettes import clustered

if TYPE_CHECKING:
    from ... import recipe

READERS: dict[str, Callable[[Path, str, str | None], tuple[Item, ...]]] = {
    "medqa": medqa.read,
    "medmcqa": medmcqa.read,
    "pubmedqa": pubmedqa.read,
    "mmlu": mmlu.read,
    "truthfulqa": truthfulqa.read,
}
# Readers that also tell what they had to find out about the test's file, for `integrity`.
EXAMINERS: dict[str, Callable[[Path, str, str | None], tuple[tuple[Item, ...], dict[str, Any]]]] = {"medmcqa": medmcqa.examine}


def read_benchmark(settings: recipe.Benchmark, path: Path, train: Path | None = None, protocol: recipe.Protocol = "medloom") -> Benchmark:
    """The benchmark that a recipe's entry names, its test questions from `path`, its training questions from `train`.

    With `limit`, those questions are kept whose ids have the smallest SHA-256, in the file's order: the same choice for
    every model. A training question that is also in the test is left out, and counted in `integrity` as "train_left_out". Raises
    Refusal where a file cannot be used, an id occurs twice, or shots are asked for without questions to make them of.
    """
    reader, examiner = READERS[settings.kind], EXAMINERS.get(settings.kind)
    read, findings = examiner(Path(path), "test", settings.part) if examiner else (reader(Path(path), "test", settings.part), {})
    items = _unique(read, path)
    learn = _unique(reader(Path(train), "train", settings.part), train) if train is not None else ()
    if not items:
        raise Refusal(f"{path}: holds no questions; name the file of the test split")
    items = clustered(items)
    asked = {_content(item) for item in items}
    apart = tuple(item for item in learn if _content(item) not in asked)
    if learn and not apart:
        raise Refusal(f"{train}: every training question is also in the test; name the file of the training split")
    if settings.shots > len(apart):
        raise Refusal(f"evaluate.benchmarks.{settings.name}: shots = {settings.shots}, and there are {len(apart)} training "
                      "questions to take them from; name a train file or lower shots")
    kept = items
    if settings.limit is not None and settings.limit < len(items):
        chosen = set(sorted((item.id for item in items), key=lambda name: hashlib.sha256(name.encode()).digest())[:settings.limit])
        kept = tuple(item for item in items if item.id in chosen)
    integrity = {**inspect(items), "train_left_out": len(learn) - len(apart), **findings}
    how = settings.model_dump(exclude={"path", "part", "domain", "train", "limit"})
    return Benchmark(items=kept, train=apart, available=len(items), integrity=integrity, protocol=protocol, **how)


def write_questions(benchmark: Benchmark, out: Path) -> dict[str, Any]:
    """Write the test questions as JSONL, {id, question, options, context, pmid, answer}; unlisted options are null."""
    lines = [json.dumps({"id": item.id, "question": item.question, "options": list(item.options) if item.lettered else None,
                         "context": item.context, "pmid": item.pmid, "answer": item.answer}, ensure_ascii=False)
             for item in benchmark.items]
    write_text(Path(out), "".join(line + "\n" for line in lines))
    return {"questions": len(lines)}


def _content(item: Item) -> tuple[str | None, str, tuple[str, ...]]:
    return item.context, item.question, tuple(sorted(item.options))


def _unique(items: tuple[Item, ...], path: Path | None) -> tuple[Item, ...]:
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise Refusal(f"{path}: the id {item.id} occurs twice; ids tell answers apart, so make them differ")
        seen.add(item.id)
    return items
