"""What the models know: answers to every benchmark, held-out text, and each model against the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ledger import Step, Workspace
from ..recipe import Benchmark, OtherModel
from .ground import Place, as_asked
from .learning import Learning


class Asking(Learning):
    """The stretch on which models are asked."""

    def _add_evaluation(self) -> None:
        for name, model in self.models.items():
            for benchmark in self.recipe.evaluate.benchmarks:
                self._add_answers(name, benchmark, model)
            if self._corpus is not None:
                self._add_heldout(name, model)
        for other in self.recipe.evaluate.models:
            for benchmark in self.recipe.evaluate.benchmarks:
                place = None if other.path is None else self.recipe.locate(other.path)
                self._add_answers(other.name, benchmark, place, other=other)

    def _add_answers(self, name: str, benchmark: Benchmark, model: Place | None, *, onward: str = "",
                     other: OtherModel | None = None) -> Step:
        settings, seed = self.recipe.evaluate, self.recipe.seed
        inputs, reads = self._benchmark_inputs((benchmark,))
        if model is not None:
            inputs["model"] = model
        if other is not None and other.tokenizer is not None:
            inputs["tokenizer"] = self.recipe.locate(other.tokenizer)

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..evaluate import answer, open_engine, write_lm_eval
            from ..passport import FILE

            place = space.inputs.get("model")
            if place is not None:
                place = place / onward
            asked = reads(benchmark, space)
            with open_engine(place, settings, other=other, tokenizer=space.inputs.get("tokenizer")) as engine:
                answers = space.out / "answers.jsonl"
                figures = answer(engine, asked, answers, seed, space.progress, space.state,
                                 passport=place / FILE if place is not None and (place / FILE).is_file() else None)
            if asked.protocol == "medloom":
                same = {key: value for key, value in figures.items() if key != "questions_per_second"}
                write_lm_eval(space.out, name, asked, answers, same, seed=(asked.seeds or (seed,))[0])
            return figures

        params = {"benchmark": as_asked(benchmark), "protocol": settings.protocol, "seed": seed, "device": settings.device,
                  "batch": settings.batch, **({"model": other.model_dump(mode="json", exclude={"path", "tokenizer"})} if other else {})}
        return self._add(Step(f"evaluate-{name}-{benchmark.name}", work, ("evaluate", "model", "numbers", "passport"), params=params,
                              inputs=inputs))

    def _add_heldout(self, name: str, model: Place) -> None:
        settings = self.recipe.evaluate
        assert self._corpus is not None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..evaluate import TorchEngine, bits_per_byte

            documents = {path.name: path for path in sorted((space.inputs["corpus"] / "valid").glob("*"))}
            with TorchEngine(space.inputs["model"], settings.device, settings.batch) as engine:
                return bits_per_byte(engine, documents, settings.heldout_characters, space.progress)

        params = {"characters": settings.heldout_characters, "device": settings.device, "batch": settings.batch}
        self._add(Step(f"heldout-{name}", work, ("evaluate", "model"), params=params,
                       inputs={"model": model, "corpus": self._corpus}))

    def _add_comparison(self) -> None:
        """Every model against the base, and every quantised file against the model it was made from, on the same questions."""
        benchmarks = self.recipe.evaluate.benchmarks
        if not benchmarks:
            return
        kinds = tuple(self.files)
        pairs = [(name, "base") for name in self.models if name != "base"] + [(kind, self.final) for kind in kinds]
        others = tuple(other.name for other in self.recipe.evaluate.models)
        pairs += [(name, "base") for name in others]
        wanted = [(benchmark.name, model, base) for model, base in pairs for benchmark in benchmarks]
        inputs = {f"{name}-{benchmark.name}": self.steps[f"evaluate-{name}-{benchmark.name}"]
                  for name in (*self.models, *kinds, *others) for benchmark in benchmarks}
        modes = {benchmark.name: benchmark.mode for benchmark in benchmarks}

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..summary import compare_all

            return compare_all({name: path / "answers.jsonl" for name, path in space.inputs.items()}, wanted, modes, space.out)

        self._add(Step("compare", work, ("evaluate", "numbers", "summary"), params={"pairs": [list(pair) for pair in wanted]},
                       inputs=inputs))
