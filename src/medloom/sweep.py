"""One recipe finetuned under several seeds: how much of a benchmark's accuracy is the seed's.

Each seed is a walk of the same road in the same ledger with another `finetune.seed`. Corpus, pretraining and the answers of the models
before finetuning follow from the recipe's own seed, so that the first walk makes them and the others find them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from .ledger import Progress, Refusal
from .ledger.files import write_json
from .recipe import Recipe
from .run import Tell, run

MODEL = "finetuned"


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to: one row for each benchmark, with the accuracy of each seed in the order of `seeds`."""

    seeds: tuple[int, ...]
    benchmarks: tuple[dict[str, Any], ...]
    seconds: float

    def figures(self) -> dict[str, Any]:
        """The content of sweep.json."""
        return {"seeds": list(self.seeds), "benchmarks": list(self.benchmarks), "seconds": round(self.seconds, 2)}


def sweep(recipe: Recipe, root: Path, seeds: Sequence[int], progress: Progress, tell: Tell) -> Sweep:
    """Walk the recipe's road as far as its evaluation once for each seed of the finetuning, and leave `sweep.json` beside the ledger.

    A sweep that was stopped goes on from where it was. Raises Refusal where there is nothing to finetune or to ask, or a seed comes twice.
    """
    if recipe.finetune is None or not recipe.evaluate.benchmarks:
        raise Refusal(f"the recipe {recipe.name} cannot be swept: it needs [finetune], and benchmarks in [evaluate]")
    if recipe.finetune.lora is not None and not recipe.finetune.lora.merge:
        raise Refusal("finetune.lora.merge = false leaves an adapter and no model that could be asked; set it to true for a sweep")
    if len(set(seeds)) < len(seeds) or len(seeds) < 2:
        raise Refusal(f"seeds {', '.join(map(str, seeds))}: a sweep needs two or more, all different")
    walks = []
    for seed in seeds:
        settings = recipe.finetune.model_copy(update={"seed": seed})
        walks.append(run(recipe.model_copy(update={"finetune": settings}), root, progress, tell, until="evaluate"))
    rows = [[row for row in walk.summary["comparisons"] if row["model"] == MODEL] for walk in walks]
    found = Sweep(tuple(seeds), tuple(_spread([row for rows_of_seed in rows for row in rows_of_seed if row["benchmark"] == benchmark.name])
                                      for benchmark in recipe.evaluate.benchmarks), sum(walk.seconds for walk in walks))
    write_json(root / "sweep.json", found.figures())
    return found


def _spread(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One benchmark under every seed. `deviation` is that of a sample, over n - 1; all accuracies are shares of one."""
    accuracies = [row["accuracy"] for row in rows]
    return {**{key: rows[0][key] for key in ("benchmark", "mode", "n", "chance", "base_accuracy")}, "accuracies": accuracies,
            "mean": fmean(accuracies), "deviation": stdev(accuracies), "low": min(accuracies), "high": max(accuracies)}
