"""Our side of evaluation: the product's own engine over a benchmark, posed, scored and written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluate_inputs as inputs
import torch

from sides.clock import run
from sides.train_ours import chip, draw


def score(model: str, data: str, out: str, mode: str, count: int, device: str = "cpu", batch: int = 16) -> Callable[[], Any]:
    """Ask `count` questions; their options' log-probabilities by id."""
    from medloom.evaluate import TorchEngine, answer
    from medloom.ledger import Silent

    torch.set_num_threads(1)
    benchmark = inputs.medqa(Path(data), mode, count)
    engine = TorchEngine(Path(model), device, batch)

    def work() -> dict[str, Any]:
        answer(engine, benchmark, Path(out) / "answers.jsonl", inputs.SEED, Silent())
        lines = [json.loads(line) for line in (Path(out) / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
        return {"logprobs": {line["id"]: line["logprobs"] for line in lines}}

    return work


def write(model: str, data: str, count: int, branches: int, tokens: int, temperature: float, device: str = "cpu", batch: int = 16
          ) -> Callable[[], Any]:
    """`branches` continuations of each of `count` chain-of-thought prompts, behind their shots; the ids of the first ones."""
    from medloom.evaluate import Sampling, TorchEngine
    from medloom.evaluate.asking.prompts import pose, shared_beginning

    torch.set_num_threads(1)
    benchmark = inputs.medqa(Path(data), "generation", count)
    engine = TorchEngine(Path(model), device, batch)

    def work() -> dict[str, Any]:
        prompts = pose(benchmark, engine, inputs.SEED)
        written = engine.generate([prompt.ids for prompt in prompts], [list(range(branches)) for _ in prompts],
                                  Sampling(tokens, temperature), shared_beginning(prompts))
        return {"ids": {prompt.item.id: list(own[0].ids) for prompt, own in zip(prompts, written, strict=True)},
                "tokens": sum(len(one.ids) for own in written for one in own)}

    return work


def tasks(data: str, out: str, mode: str, count: int) -> Callable[[], Any]:
    """The same questions, shots and words as a task for lm-eval; and the prompts as texts."""
    from medloom.evaluate import write_tasks
    from medloom.evaluate.asking.prompts import block, demonstrations

    def work() -> dict[str, Any]:
        benchmark = inputs.medqa(Path(data), mode, count)
        shots = demonstrations(benchmark, inputs.SEED)
        name = write_tasks([benchmark], Path(out), inputs.SEED)[0] if not benchmark.generates else ""
        return {"name": name, "ids": [item.id for item in benchmark.items],
                "prompts": [shots + block(item, benchmark.mode) for item in benchmark.items]}

    return work


if __name__ == "__main__":
    run({"score": score, "write": write, "tasks": tasks, "draw": draw, "chip": chip})
