"""From files to a model: the world, the questions, the corpus, the base, its tokens, and training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ledger import Step, Workspace
from ..recipe import Finetuning, Recipe, Source, Training
from .ground import Ground, Place, as_asked, texts_of


class Learning(Ground):
    """The stretch on which a model is made."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._world = self._add_world()
        self._questions = self._add_questions() if recipe.evaluate.benchmarks else None
        self._corpus = self._add_corpus()
        self.models["base"] = self._add_base()
        self._tokens = self._add_tokens()
        self._add_training()

    def _add_world(self) -> Step | None:
        world = self.recipe.world
        if world is None:
            return None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..demo import write_world

            return write_world(space.out, world.seed, world.size)

        return self._add(Step("world", work, ("demo",), params=world.model_dump()))

    def _add_questions(self) -> Step:
        """All questions in one plain form: what decontamination holds the corpus against."""
        benchmarks = self.recipe.evaluate.benchmarks
        inputs, reads = self._benchmark_inputs(benchmarks)

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..evaluate import write_questions

            counts = {}
            for benchmark in benchmarks:
                read = reads(benchmark, space)
                write_questions(read, space.out / f"{benchmark.name}.jsonl")
                counts[benchmark.name] = len(read.items)
            return counts

        params = {"benchmarks": [as_asked(benchmark) for benchmark in benchmarks]}
        return self._add(Step("questions", work, ("evaluate",), params=params, inputs=inputs))

    def _add_corpus(self) -> Step | None:
        settings = self.recipe.corpus
        if settings is None:
            return None
        reads = {source.name: self._add_read(source) for source in settings.sources}
        seed = self.recipe.seed
        questions = self._questions if settings.decontaminate is not None else None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..corpus import build_corpus

            folders = {name: space.inputs[f"read-{name}"] for name in reads}
            benchmarks = sorted(space.inputs["questions"].glob("*.jsonl")) if questions else []
            return build_corpus(folders, settings.sources, settings, benchmarks, seed, space.out, space.progress, space.state)

        params = {**settings.what(), "seed": seed,
                  "sources": [{**_read_alike(source), "validation": source.validation} for source in settings.sources]}
        inputs: dict[str, Place] = {f"read-{name}": step for name, step in reads.items()}
        if questions is not None:
            inputs["questions"] = questions
        return self._add(Step("corpus", work, ("corpus", "passport"), params=params, inputs=inputs))

    def _add_read(self, source: Source) -> Step:
        place, onward = self._locate(source.path)
        settings = self.recipe.corpus
        assert settings is not None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..corpus import read_source

            return read_source(source, space.inputs["files"] / onward, settings, space.out, space.progress, space.state)

        params = {"source": _read_alike(source), "path": onward, "markup": settings.markup, "references": settings.references}
        return self._add(Step(f"read-{source.name}", work, ("corpus",), params=params, inputs={"files": place}))

    def _add_base(self) -> Place:
        base = self.recipe.base
        if base.new is not None:
            return self._add_new_model()
        assert base.path is not None
        if base.path == "seedling":
            from importlib.resources import files

            return Path(str(files("medloom.demo"))) / "seedling"
        place = self.recipe.locate(base.path)
        if base.tokenizer is None:
            return place
        tokenizer = self.recipe.locate(base.tokenizer)

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..model import import_llama2c

            import_llama2c(space.inputs["checkpoint"], space.inputs["tokenizer"], space.out)
            return {}

        return self._add(Step("base", work, ("model",), inputs={"checkpoint": place, "tokenizer": tokenizer}))

    def _add_new_model(self) -> Step:
        shape, seed = self.recipe.base.new, self.recipe.seed
        assert shape is not None and self._corpus is not None

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..model import new_model, train_tokenizer

            texts = texts_of(space.inputs["corpus"] / "train")
            train_tokenizer(texts, shape.vocabulary, space.state / "tokenizer")
            new_model(shape, space.state / "tokenizer", seed, space.out)
            return {}

        params = {"shape": shape.model_dump(), "seed": seed}
        return self._add(Step("base", work, ("model",), params=params, inputs={"corpus": self._corpus}))

    def _add_tokens(self) -> Step | None:
        settings = self.recipe.corpus
        wanted = self.recipe.pretrain is not None or (self.recipe.finetune is not None and self.recipe.finetune.replay > 0)
        if settings is None or self._corpus is None or not wanted:
            return None
        seed = self.recipe.seed
        budget = self.recipe.pretrain.tokens if self.recipe.pretrain else None
        epochs = self.recipe.pretrain.epochs if self.recipe.pretrain else 1.0

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..corpus import tokenise_corpus

            return tokenise_corpus(space.inputs["corpus"], space.inputs["model"], settings, settings.sources, seed, budget, epochs,
                                   space.out, space.progress, space.state)

        measures = {source.name: {"share": source.share, "tokens": source.tokens, "repeat": source.repeat} for source in settings.sources}
        params = {"sources": measures, "upsample": settings.upsample, "special_tokens": settings.special_tokens,
                  "passport_mb": settings.passport_mb, "seed": seed, "tokens": budget, "epochs": epochs}
        return self._add(Step("tokens", work, ("corpus", "passport", "model"), params=params,
                              inputs={"corpus": self._corpus, "model": self.models["base"]}))

    def _add_training(self) -> None:
        pretraining, finetuning, seed = self.recipe.pretrain, self.recipe.finetune, self.recipe.seed
        layout, hardware, name = self.recipe.layout, self.recipe.hardware, self.recipe.name

        def watch(space: Workspace) -> Path:
            return space.out.parents[1] / "watch"  # beside the steps: it has clocks in it, and is no output of any

        if pretraining is not None:
            assert self._tokens is not None

            def pretrained(space: Workspace) -> Mapping[str, Any]:
                from ..train import Job, run_job

                job = Job(stage="pretrain", settings=pretraining, layout=layout, hardware=hardware, model=space.inputs["model"],
                          tokens=space.inputs["tokens"], out=space.out, state=space.state, watch=watch(space), project=name, seed=seed)
                return run_job(job, space.progress)

            self.models["pretrained"] = self._add(Step(
                "pretrain", pretrained, ("train", "schedule", "passport", "model"), params=_trained_alike(pretraining, seed, "epochs"),
                inputs={"model": self.models["base"], "tokens": self._tokens}))
        if finetuning is not None:
            written = self._add_examples(finetuning)
            own_seed = seed if finetuning.seed is None else finetuning.seed
            more: dict[str, Place] = {"tokens": self._tokens} if finetuning.replay and self._tokens is not None else {}

            def finetuned(space: Workspace) -> Mapping[str, Any]:
                from ..train import Job, run_job

                job = Job(stage="finetune", settings=finetuning, layout=layout, hardware=hardware, model=space.inputs["model"],
                          examples=space.inputs["examples"] / "examples.jsonl", replay=space.inputs.get("tokens"), out=space.out,
                          state=space.state, watch=watch(space), project=name, seed=own_seed)
                return run_job(job, space.progress)

            step = self._add(Step(
                "finetune", finetuned, ("train", "schedule", "passport", "model"), params=_trained_alike(finetuning, own_seed),
                inputs={"model": self.models[self.final], "examples": written, **more}))
            if not self._ends_with_adapter:
                self.models["finetuned"] = step

    def _add_examples(self, finetuning: Finetuning) -> Step:
        seed = self.recipe.seed
        asked = tuple(b for b in self.recipe.evaluate.benchmarks if b.name in finetuning.benchmarks)
        inputs, reads = self._benchmark_inputs(asked)
        ways = {}
        for number, path in enumerate(finetuning.files):
            place, onward = self._locate(path)
            name = "world" if place is self._world else f"file-{number}"
            inputs[name], ways[path] = place, (name, onward)

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..evaluate import write_examples

            files = {path: space.inputs[name] / onward for path, (name, onward) in ways.items()}
            return write_examples([reads(benchmark, space) for benchmark in asked], space.out / "examples.jsonl", seed, files)

        return self._add(Step("examples", work, ("evaluate",), inputs=inputs,
                              params={"benchmarks": [as_asked(b) for b in asked], "files": list(finetuning.files), "seed": seed}))


def _read_alike(source: Source) -> dict[str, Any]:
    """What of a source decides the documents read from it, its files apart."""
    return source.model_dump(mode="json", exclude={"path", "share", "tokens", "repeat", "validation", "holds"})


def _trained_alike(settings: Training, seed: int, *others: str) -> dict[str, Any]:
    """What of the settings decides the step: not `tokens` and `others`, which decide the one before."""
    return {**{key: value for key, value in settings.what().items() if key not in ("tokens", *others)}, "seed": seed}
