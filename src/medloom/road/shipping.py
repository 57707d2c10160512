"""What others run: GGUF files, what each costs, and which of them may ship."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from ..ledger import Refusal, Step, Workspace
from ..ledger.files import sha256_json
from ..notice import NOTICE
from .asking import Asking
from .ground import Place, texts_of

IMPORTANCE = "importance.gguf"


class Shipping(Asking):
    """The stretch on which files are made of the model, and judged."""

    def _add_export(self) -> None:
        settings = self.recipe.export
        if settings is None:
            return
        for kind in settings.types:
            made = self._export_exact(kind) if kind in ("F32", "F16", "BF16") else self._quantise(kind)
            self.files[kind] = made, f"model-{kind}.gguf"
        for scheme in settings.compressed:
            self._compress(scheme)
        self.files |= {file.name: (self.recipe.locate(file.path), "") for file in settings.files}
        reference = self._add_reference(settings.positions)
        for name, (place, onward) in self.files.items():
            for benchmark in self.recipe.evaluate.benchmarks:
                self._add_answers(name, benchmark, place, onward=onward)
            if reference is not None:
                self._add_measure(name, place, onward, reference)

    def _export_exact(self, kind: str) -> Step:
        if f"export-{kind}" in self.steps:
            return self.steps[f"export-{kind}"]

        about: dict[str, Any] = {"name": self._name, "licence": self._licence, "base_model": self.recipe.base.called, "notice": NOTICE,
                 "recipe_digest": sha256_json(self.recipe.what())}

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import About, export_gguf

            return export_gguf(space.inputs["model"], space.out / f"model-{kind}.gguf", kind, about=About(**about), progress=space.progress)

        inputs = {"model": self.models[self.final]}
        return self._add(Step(f"export-{kind}", work, ("quantise", "model"), params={"type": kind, "about": about}, inputs=inputs))

    def _compress(self, scheme: str) -> Step:
        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import export_compressed

            return export_compressed(space.inputs["model"], space.out / "model", scheme)

        return self._add(Step(f"export-{scheme}", work, ("quantise", "model"), params={"scheme": scheme},
                              inputs={"model": self.models[self.final]}))

    def _quantise(self, kind: str) -> Step:
        # Trained weights are saved in bfloat16, so that BF16 loses nothing; of a base model's own only F32 is sure to.
        exact = "F32" if self.final == "base" else "BF16"
        inputs: dict[str, Place] = {"gguf": self._export_exact(exact)}
        importance = self._add_importance()
        if importance is not None:
            inputs["importance"] = importance

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import quantise

            weights = space.inputs["importance"] / IMPORTANCE if "importance" in space.inputs else None
            return quantise(space.inputs["gguf"] / f"model-{exact}.gguf", space.out / f"model-{kind}.gguf", kind, importance=weights,
                            progress=space.progress)

        return self._add(Step(f"export-{kind}", work, ("quantise",), params={"type": kind}, inputs=inputs))

    def _add_importance(self) -> Step | None:
        """Which columns of the final model's matrices matter, over the text that it was trained on; never over a benchmark's."""
        positions = self.recipe.export.imatrix if self.recipe.export is not None else None
        if positions is None or "importance" in self.steps:
            return self.steps.get("importance")
        if self._corpus is None:
            raise Refusal("export.imatrix reads the training corpus, and the recipe has none: add [corpus], or leave imatrix out")
        dataset = f"training corpus of {self.recipe.name}"

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import collect_importance

            return collect_importance(space.inputs["model"], texts_of(space.inputs["corpus"] / "train"), positions, space.out / IMPORTANCE,
                                      dataset=dataset, progress=space.progress)

        return self._add(Step("importance", work, ("quantise", "model"), params={"positions": positions, "dataset": dataset},
                              inputs={"model": self.models[self.final], "corpus": self._corpus}))

    def _add_reference(self, positions: int) -> Step | None:
        """The final model's own reading of held-out text, of every domain in turn."""
        if self._corpus is None:
            return None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import write_reference

            domains = [texts_of(path) for path in sorted((space.inputs["corpus"] / "valid").glob("*"))]
            texts = (text for several in zip_longest(*domains, fillvalue="") for text in several if text)
            return write_reference(space.inputs["model"], texts, positions, space.out, space.progress)

        return self._add(Step("reference", work, ("quantise", "model"), params={"positions": positions},
                              inputs={"model": self.models[self.final], "corpus": self._corpus}))

    def _add_measure(self, name: str, place: Place, onward: str, reference: Step) -> Step:
        def work(space: Workspace) -> Mapping[str, Any]:
            from ..quantise import measure, read_reference

            return measure(read_reference(space.inputs["reference"]), space.inputs["gguf"] / onward, progress=space.progress)

        return self._add(Step(f"measure-{name}", work, ("quantise", "model"), inputs={"gguf": place, "reference": reference}))

    def _add_gate(self) -> None:
        """Which of the files may ship."""
        settings, final = self.recipe.export, self.final
        if settings is None or self._corpus is None:
            return
        benchmarks = tuple(benchmark.name for benchmark in self.recipe.evaluate.benchmarks)
        files, name, licence = dict(self.files), self._name, self._licence
        needed = ["reference", *(f"measure-{kind}" for kind in files)]
        needed += [f"evaluate-{model}-{benchmark}" for model in (final, *files) for benchmark in benchmarks]
        inputs: dict[str, Place] = {step: self.steps[step] for step in needed}
        inputs |= {f"file-{kind}": place for kind, (place, _) in files.items()}

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..gating import pass_gate
            from ..quantise import Margins

            return pass_gate({kind: space.inputs[f"file-{kind}"] / onward for kind, (_, onward) in files.items()}, space.inputs, benchmarks,
                             final, Margins(settings.margin, settings.kl), name, licence, space.out)

        params = {"margin": settings.margin, "kl": settings.kl, "name": name, "licence": licence}
        self._add(Step("gate", work, ("quantise", "evaluate", "gating"), params=params, inputs=inputs, measured=("*",)))
