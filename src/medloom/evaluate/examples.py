"""Training questions as finetuning examples, worded exactly as evaluation poses the test's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from ..ledger.files import write_text
from .benchmark import Benchmark
from .prompts import block, completions


def write_examples(benchmarks: Sequence[Benchmark], out: Path, seed: int) -> dict[str, Any]:
    """Write {id, prompt, completion} lines from the training questions of some benchmarks, shuffled by a hash of seed and id.

    The prompt is the question without shots. Raises Refusal for a benchmark without training questions.
    """
    lines: dict[str, str] = {}
    counts: dict[str, int] = {}
    for benchmark in benchmarks:
        if not benchmark.train:
            raise Refusal(f"evaluate.benchmarks.{benchmark.name}: has no training questions to learn from; give it a train file")
        counts[benchmark.name] = len(benchmark.train)
        for item in benchmark.train:
            name = f"{benchmark.name}:{item.id}"
            lines[name] = json.dumps({"id": name, "prompt": block(item, benchmark.mode),
                                      "completion": completions(item, benchmark.mode)[item.answer]}, ensure_ascii=False)
    order = sorted(lines, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    write_text(Path(out), "".join(lines[name] + "\n" for name in order))
    return {"examples": len(lines), "benchmarks": counts}
