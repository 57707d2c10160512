"""Evaluation against lm-eval: letters, option texts and self-consistency, on the same questions, shots, words and weights.

    python benchmarks/evaluate.py --data DIR --peers peers-eval/bin/python [--only ROW ...] [--repeat N] [--json FILE] [--work DIR]

Real MedQA questions with five shots, Llama 2's tokenizer, random weights, float32, one thread a side, CPU time. benchmarks/README.md says
how the peer is installed. A rate is questions over the CPU seconds of the whole evaluation, without loading the model; the shots, which we
read once, are in it. Exit code 1 where a goal is not met; a row that cannot be measured here says why and is neither.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import evaluate_inputs as inputs
import measure
import train_inputs
from measure import Row, Sample, in_slices, in_turns, measure_rows, middle

from medloom.model import ModelConfig

AGREE = 1e-4  # nats by which an option's log-probability may differ in float32
BRANCHES, TOKENS, TEMPERATURE = 10, 64, 0.8
GREEDY = 24  # tokens that are held against transformers'


class Bench(measure.Bench):
    """Evaluation against its peer."""

    sides: ClassVar[str] = "evaluate"

    def model(self, config: ModelConfig, device: str = "cpu") -> Path:
        """A new model folder of this shape, with Llama 2's tokenizer."""
        folder = self.folder / "model"
        self.ours("draw", folder=folder, config=train_inputs.shape(config), dtype="float32", device=device)()
        inputs.give_tokenizer(folder, self.data)
        return folder


def _scored(bench: Bench, work: str, goal: float, config: ModelConfig, mode: str, ours: int, theirs: int, unit: str = "questions/CPU s",
            clock: str = "cpu", **device: Any) -> Row:
    """`ours` questions on our side, the first `theirs` of them on lm-eval's: both rates are of questions, and the answers must agree."""
    model = bench.model(config, device.get("device", "cpu"))
    task = bench.ours("tasks", data=bench.data, out=bench.folder / "tasks", mode=mode, count=ours)().result
    both = (bench.ours("score", model=model, data=bench.data, out=bench.folder / "answers", mode=mode, count=ours, **device),
            bench.peer("score", model=model, tasks=bench.folder / "tasks", name=task["name"], count=theirs, **device))
    mine, peers = in_turns(bench.rounds(2), *both) if device else in_slices(bench.rounds(2), *both)
    far, alike = _agreement(mine[0].result["logprobs"], peers[0].result["logprobs"])
    rates = ours / middle(mine, clock), theirs / middle(peers, clock)
    good = far <= AGREE and alike == theirs
    return Row(work, *rates, unit, rates[0] / rates[1], goal, good and rates[0] / rates[1] >= goal,
               f"{config.parameters / 1e6:.1f} M parameters; {ours} questions of ours, {theirs} of lm-eval's; largest difference of a "
               f"log-probability {far:.1e}, same choice in {alike} of {theirs}", _seconds(mine, peers, clock))


def _agreement(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> tuple[float, int]:
    pairs = [(ours[name], values) for name, values in theirs.items()]
    far = max(abs(one - other) for mine, values in pairs for one, other in zip(mine, values, strict=True))
    return far, sum(mine.index(max(mine)) == values.index(max(values)) for mine, values in pairs)


def _seconds(ours: list[Sample], peers: list[Sample], clock: str) -> dict[str, Any]:
    return {f"{who}_{clock}_seconds": [getattr(sample, clock) for sample in samples] for who, samples in (("ours", ours), ("peer", peers))}


def letters_tiny(bench: Bench) -> Row:
    """Letters on 256 x 4."""
    return _scored(bench, "letters-tiny", 12, inputs.TINY, "top-token", 192, 32)


def letters_small(bench: Bench) -> Row:
    """Letters on 768 x 12."""
    return _scored(bench, "letters-small", 6, inputs.SMALL, "top-token", 96, 10)


def option_text(bench: Bench) -> Row:
    """Option texts on 256 x 4."""
    return _scored(bench, "option-text", 30, inputs.TINY, "option-text", 192, 10)


def self_consistency(bench: Bench) -> Row:
    """Ten branches of 64 tokens on 768 x 12; what is written greedily is held against transformers'."""
    model, ours, theirs = bench.model(inputs.SMALL), 16, 1
    task = bench.ours("tasks", data=bench.data, out=bench.folder, mode="generation", count=ours)().result
    both = (bench.ours("write", model=model, data=bench.data, count=ours, branches=BRANCHES, tokens=TOKENS, temperature=TEMPERATURE),
            bench.peer("write", model=model, prompts=task["prompts"][:theirs], branches=BRANCHES, tokens=TOKENS, temperature=TEMPERATURE))
    mine, peers = in_slices(bench.rounds(2), *both)
    greedy = bench.ours("write", model=model, data=bench.data, count=ours, branches=1, tokens=GREEDY, temperature=0.0)().result["ids"]
    expected = bench.peer("greedy", model=model, prompts=task["prompts"][:2], tokens=GREEDY)().result["ids"]
    alike = sum(greedy[name] == ids for name, ids in zip(task["ids"][:2], expected, strict=True))
    full = mine[0].result["tokens"] / (ours * BRANCHES * TOKENS)
    rates = ours / middle(mine), theirs / middle(peers)
    return Row("self-consistency", *rates, "questions/CPU s", rates[0] / rates[1], 15, alike == 2 and rates[0] / rates[1] >= 15,
               f"{BRANCHES} branches of {TOKENS} tokens at {TEMPERATURE}; {ours} questions of ours, {theirs} of lm-eval's; we wrote "
               f"{full:.0%} of the tokens, as branches may end; greedily the same {GREEDY} tokens as transformers in {alike} of 2",
               _seconds(mine, peers, "cpu"))


def gpu_letters(bench: Bench) -> Row:
    """Letters on about 1.1 billion parameters on a GPU, by the wall clock."""
    if bench.ours("chip")().result is None:
        return Row("gpu-letters", None, None, "questions/s", None, 4, None, "not measured: torch sees no CUDA accelerator here")
    row = _scored(bench, "gpu-letters", 4, inputs.BILLION, "top-token", 1273, 128, "questions/s", "wall", device="cuda", batch=32)
    return replace(row, note=f"float32, batches of 32 on both sides; {row.note}")


ROWS = {"letters-tiny": letters_tiny, "letters-small": letters_small, "option-text": option_text, "self-consistency": self_consistency,
        "gpu-letters": gpu_letters}


if __name__ == "__main__":
    sys.exit(measure_rows(Bench, ROWS, __doc__, "peers-eval/bin/python"))
