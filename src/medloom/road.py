"""The road: which steps a recipe asks for, and what each is made from. The one place where all rooms meet.

    world ─┬─ read-<source> ─┬─ corpus ── tokens ── pretrain ── finetune ── export-<type>
           └─ questions ─────┘                          │           │            │
                                     evaluate-<model>-<benchmark>, heldout-<model>, measure-<type> ── compare, gate ── card

Rooms are imported when their step runs, so that a road on which nothing is left to do is walked in no time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .ledger import Refusal, Step, Workspace
from .ledger.files import sha256_json
from .notice import NOTICE
from .recipe import Benchmark, Finetuning, OtherModel, Recipe, Source, Training

Place = Step | Path
IMPORTANCE = "importance.gguf"


class Road:
    """The steps of a recipe. `steps` holds them by name, each after what it rests on.

    `models` is what is evaluated, in order; `files` the GGUF files by name, each where it lies and how it is called there.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.steps: dict[str, Step] = {}
        self.models: dict[str, Place] = {}
        self.files: dict[str, tuple[Place, str]] = {}
        self._world = self._add_world()
        self._questions = self._add_questions() if recipe.evaluate.benchmarks else None
        self._corpus = self._add_corpus()
        self.models["base"] = self._add_base()
        self._tokens = self._add_tokens()
        self._add_training()
        if self._ends_with_adapter:
            return
        self._add_evaluation()
        self._add_export()
        self._add_comparison()
        self._add_gate()
        self._add_card()

    @property
    def _ends_with_adapter(self) -> bool:
        """Whether what is finetuned is an adapter alone, which is no model that could be evaluated or exported."""
        finetuning = self.recipe.finetune
        return finetuning is not None and finetuning.lora is not None and not finetuning.lora.merge

    @property
    def final(self) -> str:
        """Name of the model at the road's end: base, pretrained or finetuned."""
        return list(self.models)[-1]

    def until(self, stage: str) -> list[Step]:
        """The steps that a stage of the command line stands for: corpus, pretrain, finetune, evaluate, export, gate, card."""
        prefixes = {"corpus": ("tokens", "corpus"), "pretrain": ("pretrain",), "finetune": ("finetune",),
                    "evaluate": ("compare", "evaluate", "heldout"), "export": ("export", "importance", "measure"),
                    "gate": ("gate",), "card": ("card",)}[stage]
        found = [step for name, step in self.steps.items() if name.partition("-")[0] in prefixes]
        if not found and self._ends_with_adapter:
            raise Refusal(f"the recipe {self.recipe.name} ends with an adapter, and has nothing to {stage}: set finetune.lora.merge = true")
        if not found:
            cure = "a [corpus] to measure on and [export]" if stage == "gate" else f"the table [{stage}]"
            raise Refusal(f"the recipe {self.recipe.name} has nothing to {stage}: add {cure}")
        return found

    def _add(self, step: Step) -> Step:
        self.steps[step.name] = step
        return step

    def _locate(self, path: str) -> tuple[Place, str]:
        """Where a path of the recipe lies: an input for a step, and the way on from it."""
        return (self._world, path) if self._world is not None else (self.recipe.locate(path), "")

    def _add_world(self) -> Step | None:
        world = self.recipe.world
        if world is None:
            return None

        def work(space: Workspace) -> Mapping[str, Any]:
            from .demo import write_world

            return write_world(space.out, world.seed, world.size)

        return self._add(Step("world", work, ("demo",), params=world.model_dump()))

    def _add_questions(self) -> Step:
        """All questions in one plain form: what decontamination holds the corpus against."""
        benchmarks = self.recipe.evaluate.benchmarks
        inputs, reads = self._benchmark_inputs(benchmarks)

        def work(space: Workspace) -> Mapping[str, Any]:
            from .evaluate import write_questions

            counts = {}
            for benchmark in benchmarks:
                read = reads(benchmark, space)
                write_questions(read, space.out / f"{benchmark.name}.jsonl")
                counts[benchmark.name] = len(read.items)
            return counts

        params = {"benchmarks": [_asked(benchmark) for benchmark in benchmarks]}
        return self._add(Step("questions", work, ("evaluate",), params=params, inputs=inputs))

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
            from .evaluate import read_benchmark

            found = {role: space.inputs[name] / onward for (owner, role), (name, onward) in ways.items() if owner == benchmark.name}
            return read_benchmark(benchmark, found["test"], found.get("train"), self.recipe.evaluate.protocol)

        return inputs, read

    def _add_corpus(self) -> Step | None:
        settings = self.recipe.corpus
        if settings is None:
            return None
        reads = {source.name: self._add_read(source) for source in settings.sources}
        seed = self.recipe.seed
        questions = self._questions if settings.decontaminate is not None else None

        def work(space: Workspace) -> Mapping[str, Any]:
            from .corpus import build_corpus

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
            from .corpus import read_source

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
            from .model import import_llama2c

            import_llama2c(space.inputs["checkpoint"], space.inputs["tokenizer"], space.out)
            return {}

        return self._add(Step("base", work, ("model",), inputs={"checkpoint": place, "tokenizer": tokenizer}))

    def _add_new_model(self) -> Step:
        shape, seed = self.recipe.base.new, self.recipe.seed
        assert shape is not None and self._corpus is not None

        def work(space: Workspace) -> Mapping[str, Any]:
            from .model import new_model, train_tokenizer

            texts = _texts(space.inputs["corpus"] / "train")
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
            from .corpus import tokenise_corpus

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
                from .train import Job, run_job

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
                from .train import Job, run_job

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
            from .evaluate import write_examples

            files = {path: space.inputs[name] / onward for path, (name, onward) in ways.items()}
            return write_examples([reads(benchmark, space) for benchmark in asked], space.out / "examples.jsonl", seed, files)

        return self._add(Step("examples", work, ("evaluate",), inputs=inputs,
                              params={"benchmarks": [_asked(b) for b in asked], "files": list(finetuning.files), "seed": seed}))

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
            from .evaluate import answer, open_engine, write_lm_eval
            from .passport import FILE

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

        params = {"benchmark": _asked(benchmark), "protocol": settings.protocol, "seed": seed, "device": settings.device,
                  "batch": settings.batch, **({"model": other.model_dump(mode="json", exclude={"path", "tokenizer"})} if other else {})}
        return self._add(Step(f"evaluate-{name}-{benchmark.name}", work, ("evaluate", "model", "numbers", "passport"), params=params,
                              inputs=inputs))

    def _add_heldout(self, name: str, model: Place) -> None:
        settings = self.recipe.evaluate
        assert self._corpus is not None

        def work(space: Workspace) -> Mapping[str, Any]:
            from .evaluate import TorchEngine, bits_per_byte

            documents = {path.name: path for path in sorted((space.inputs["corpus"] / "valid").glob("*"))}
            with TorchEngine(space.inputs["model"], settings.device, settings.batch) as engine:
                return bits_per_byte(engine, documents, settings.heldout_characters, space.progress)

        params = {"characters": settings.heldout_characters, "device": settings.device, "batch": settings.batch}
        self._add(Step(f"heldout-{name}", work, ("evaluate", "model"), params=params,
                       inputs={"model": model, "corpus": self._corpus}))

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
            from .quantise import About, export_gguf

            return export_gguf(space.inputs["model"], space.out / f"model-{kind}.gguf", kind, about=About(**about), progress=space.progress)

        inputs = {"model": self.models[self.final]}
        return self._add(Step(f"export-{kind}", work, ("quantise", "model"), params={"type": kind, "about": about}, inputs=inputs))

    def _compress(self, scheme: str) -> Step:
        def work(space: Workspace) -> Mapping[str, Any]:
            from .quantise import export_compressed

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
            from .quantise import quantise

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
            from .quantise import collect_importance

            return collect_importance(space.inputs["model"], _texts(space.inputs["corpus"] / "train"), positions, space.out / IMPORTANCE,
                                      dataset=dataset, progress=space.progress)

        return self._add(Step("importance", work, ("quantise", "model"), params={"positions": positions, "dataset": dataset},
                              inputs={"model": self.models[self.final], "corpus": self._corpus}))

    def _add_reference(self, positions: int) -> Step | None:
        """The final model's own reading of held-out text, of every domain in turn."""
        if self._corpus is None:
            return None

        def work(space: Workspace) -> Mapping[str, Any]:
            from .quantise import write_reference

            domains = [_texts(path) for path in sorted((space.inputs["corpus"] / "valid").glob("*"))]
            texts = (text for several in zip_longest(*domains, fillvalue="") for text in several if text)
            return write_reference(space.inputs["model"], texts, positions, space.out, space.progress)

        return self._add(Step("reference", work, ("quantise", "model"), params={"positions": positions},
                              inputs={"model": self.models[self.final], "corpus": self._corpus}))

    def _add_measure(self, name: str, place: Place, onward: str, reference: Step) -> Step:
        def work(space: Workspace) -> Mapping[str, Any]:
            from .quantise import measure, read_reference

            return measure(read_reference(space.inputs["reference"]), space.inputs["gguf"] / onward, progress=space.progress)

        return self._add(Step(f"measure-{name}", work, ("quantise", "model"), inputs={"gguf": place, "reference": reference}))

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
            from .summary import compare_all

            return compare_all({name: path / "answers.jsonl" for name, path in space.inputs.items()}, wanted, modes, space.out)

        self._add(Step("compare", work, ("evaluate", "numbers", "summary"), params={"pairs": [list(pair) for pair in wanted]},
                       inputs=inputs))

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
            from .gating import pass_gate
            from .quantise import Margins

            return pass_gate({kind: space.inputs[f"file-{kind}"] / onward for kind, (_, onward) in files.items()}, space.inputs, benchmarks,
                             final, Margins(settings.margin, settings.kl), name, licence, space.out)

        params = {"margin": settings.margin, "kl": settings.kl, "name": name, "licence": licence}
        self._add(Step("gate", work, ("quantise", "evaluate", "gating"), params=params, inputs=inputs, measured=("*",)))

    @property
    def _name(self) -> str:
        """What the model is called in its card and files."""
        return self.recipe.card.model_name or self.recipe.name

    @property
    def _licence(self) -> str | None:
        """The model's licence, by default its base's."""
        return self.recipe.card.licence or self.recipe.base.licence

    def _add_card(self) -> None:
        recipe = self.recipe
        inputs = dict(self.steps)

        def work(space: Workspace) -> Mapping[str, Any]:
            from .card import write_card
            from .summary import lineage

            return write_card(lineage(recipe, space.inputs), space.out, space.inputs, space.progress)

        params = {"recipe": recipe.model_dump(mode="json", exclude={"data"})}
        rooms = ("card", "numbers", "summary", "notice", "pages", "plots")
        self._add(Step("card", work, rooms, params=params, inputs=inputs, measured=("*",)))


def _read_alike(source: Source) -> dict[str, Any]:
    """What of a source decides the documents read from it, its files apart."""
    return source.model_dump(mode="json", exclude={"path", "share", "tokens", "repeat", "validation", "holds"})


def _texts(folder: Path) -> Iterator[str]:
    """The texts of a folder of the corpus, a row group in memory at a time."""
    import pyarrow.parquet as parquet

    for path in sorted(folder.glob("*.parquet")):
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["text"]):
                yield from batch["text"].to_pylist()


def _asked(benchmark: Benchmark) -> dict[str, Any]:
    return benchmark.model_dump(mode="json")


def _trained_alike(settings: Training, seed: int, *others: str) -> dict[str, Any]:
    """What of the settings decides the step: not `tokens` and `others`, which decide the one before."""
    return {**{key: value for key, value in settings.what().items() if key not in ("tokens", *others)}, "seed": seed}
