"""What every stretch of the road stands on: the recipe, the steps so far, and where its paths lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..ledger import Step, Workspace
from ..recipe import Benchmark, Recipe

Place = Step | Path


class Ground:
    """The steps of a recipe. `steps` holds them by name, each after what it rests on.

    `models` is what is evaluated, in order; `files` the GGUF files by name, each where it lies and how it is called there.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps: dict[str, Step] = {}
        self.models: dict[str, Place] = {}
        self.files: dict[str, tuple[Place, str]] = {}
        self._world: Step | None = None
        self._corpus: Step | None = None

    @property
    def final(self) -> str:
        """Name of the model at the road's end: base, pretrained or finetuned."""
        return list(self.models)[-1]

    @property
    def _ends_with_adapter(self) -> bool:
        """Whether what is finetuned is an adapter alone, which is no model that could be evaluated or exported."""
        finetuning = self.recipe.finetune
        return finetuning is not None and finetuning.lora is not None and not finetuning.lora.merge

    @property
    def _name(self) -> str:
        """What the model is called in its card and files."""
        return self.recipe.card.model_name or self.recipe.name

    @property
    def _licence(self) -> str | None:
        """The model's licence, by default its base's."""
        return self.recipe.card.licence or self.recipe.base.licence

    def _add(self, step: Step) -> Step:
        self.steps[step.name] = step
        return step

    def _locate(self, path: str) -> tuple[Place, str]:
        """Where a path of the recipe lies: an input for a step, and the way on from it."""
        return (self._world, path) if self._world is not None else (self.recipe.locate(path), "")

    def _benchmark_inputs(self, benchmarks: tuple[Benchmark, ...]) -> tuple[dict[str, Place], Any]:
        """The inputs that hold these benchmarks, and a function that reads one of them in a workspace."""
        inputs: dict[str, Place] = {}
        ways: dict[tuple[str, str], tuple[str, str]] = {}
        for benchmark in benchmarks:
            for role, path in (("test", benchmark.path), ("train", benchmark.train)):
                if path is not None:
                    place, onward = self._locate(path)
                    name = "world" if place is self._world else f"{benchmark.name}-{role}"
                    inputs[name] = place
                    ways[benchmark.name, role] = (name, onward)

        def read(benchmark: Benchmark, space: Workspace) -> Any:
            from ..evaluate import read_benchmark

            found = {role: space.inputs[name] / onward for (owner, role), (name, onward) in ways.items() if owner == benchmark.name}
            return read_benchmark(benchmark, found["test"], found.get("train"), self.recipe.evaluate.protocol)

        return inputs, read


def texts_of(folder: Path) -> Iterator[str]:
    """The texts of a folder of the corpus, a row group in memory at a time."""
    import pyarrow.parquet as parquet

    for path in sorted(folder.glob("*.parquet")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["text"]):
                yield from batch["text"].to_pylist()


def as_asked(benchmark: Benchmark) -> dict[str, Any]:
    """A benchmark as a step's parameters have it."""
    return benchmark.model_dump(mode="json")
