"""Our benchmarks as tasks of lm-eval, over files beside them, worded as we word them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ...ledger.files import write_text
from ..asking import drawn
from ..benchmarks import Benchmark, Item
from .documents import WORDING, document, task_name, wording


def write_tasks(benchmarks: Sequence[Benchmark], out: Path, seed: int) -> list[str]:
    """Write for each benchmark a YAML file and the questions that it names, so that `lm_eval --include_path OUT --tasks NAME` runs offline.

    Returns the tasks' names; all carry the tag `medloom`. Shots are those that the seed draws here, always the same and in the same order.
    The YAML names the questions by their absolute path, for lm-eval reads paths from where it is started: write them anew after moving
    the folder. A question that is longer than the model's context is shortened by us and cut from the left by lm-eval; only there the
    prompts differ. Raises Refusal for a mode that generates.
    """
    out = Path(out).resolve()
    names = [task_name(benchmark) for benchmark in benchmarks]
    if len(set(names)) < len(names):
        raise Refusal(f"two benchmarks would be the same task ({', '.join(sorted(names))}); names must differ in letters and digits")
    for name, benchmark in zip(names, benchmarks, strict=True):
        words = (WORDING / f"{wording(benchmark)}.yaml").read_text(encoding="utf-8")
        files = {"test": out / f"{name}.jsonl"}
        _write(files["test"], benchmark.items, benchmark)
        settings: dict[str, Any] = {"task": name, "tag": "medloom", "num_fewshot": benchmark.shots}
        if benchmark.shots:
            files["shots"] = out / f"{name}_shots.jsonl"
            _write(files["shots"], drawn(benchmark, seed), benchmark)
            settings |= {"fewshot_split": "shots", "fewshot_config": {"sampler": "first_n"}}
        settings["dataset_kwargs"] = {"data_files": {split: str(path) for split, path in files.items()}}
        # JSON is YAML, as long as its texts hold no line ends of Unicode's; these are names and paths.
        write_text(out / f"{name}.yaml", words + "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    return names


def _write(path: Path, items: Sequence[Item], benchmark: Benchmark) -> None:
    write_text(path, "".join(json.dumps(document(item, benchmark.mode), ensure_ascii=False) + "\n" for item in items))
