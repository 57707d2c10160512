"""The recipe: one TOML file that describes a model's whole life, and the only configuration there is.

`read_recipe` turns a file into frozen, typed models. A recipe may extend another (`extends = "other.toml"`, tables
merge key by key, lists replace), and `--set key=value` overrides any key. Whatever is wrong with it is one
RecipeError, whose message names the file, the key and the cure.

Relative paths count from `data` where the recipe sets it (or from the invented world where it has a `[world]`),
else from the folder of the recipe file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .ledger import Refusal

Share = Annotated[float, Field(gt=0, lt=1)]
Moment = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


class RecipeError(Refusal):
    """A recipe that cannot be used: the message says where, why and what would mend it."""


class Part(BaseModel):
    """A table of the recipe: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class World(Part):
    """The invented world, written first; the recipe's relative paths then lie in it."""

    seed: int = 1
    size: Literal["demo", "tiny"] = "demo"


class Shape(Part):
    """A new network of the Llama family, drawn at random. Sizes in features, heads, layers, tokens."""

    hidden: Positive = 256
    feed_forward: Positive = 768
    layers: Positive = 4
    heads: Positive = 4
    kv_heads: Positive = 2
    context: Positive = 512
    vocabulary: Positive = 1024
    tied: bool = True
    rope_theta: float = Field(default=10_000.0, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> Shape:
        if self.hidden % self.heads:
            raise ValueError(f"hidden = {self.hidden} is not a multiple of heads = {self.heads}")
        if self.heads % self.kv_heads:
            raise ValueError(f"heads = {self.heads} is not a multiple of kv_heads = {self.kv_heads}")
        return self


class Base(Part):
    """The model that is adapted: a folder in Hugging Face form, a llama2.c checkpoint, the shipped seedling, or a new shape."""

    path: str | None = None
    tokenizer: str | None = None
    new: Shape | None = None
    name: str | None = None
    licence: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Base:
        if (self.path is None) == (self.new is None):
            raise ValueError('give either base.path (a model folder, a llama2.c .bin, or "seedling") or base.new (a shape), not both')
        if self.path is not None and self.path.endswith(".bin") and self.tokenizer is None:
            raise ValueError("base.path is a llama2.c checkpoint, which holds no tokenizer: name it in base.tokenizer")
        return self


class Holding(Part):
    """What a source is known to hold before it is here: documents and tokens, for `medloom corpus mixture`."""

    documents: Positive
    tokens: Positive


class Source(Part):
    """Where documents come from, and how much of it is read.

    `share` is of all training tokens, `tokens` a budget; a source with neither enters whole, `repeat` times an epoch. A share of 0 keeps
    a source for held-out text alone. `validation` overrides the corpus's share of documents to hold out.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    format: Literal["medline", "jats", "s2orc", "guidelines", "jsonl", "parquet", "text"]
    path: str
    domain: Literal["medical", "general"] = "medical"
    licence: str | None = None
    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    tokens: Positive | None = None
    repeat: float = Field(default=1.0, gt=0)
    validation: Annotated[float, Field(ge=0, lt=1)] | None = None
    holds: Holding | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Source:
        measures = {"share": self.share is not None, "tokens": self.tokens is not None, "repeat": self.repeat != 1}
        given = [name for name, is_given in measures.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"gives {' and '.join(given)}: how much of a source is read has one measure")
        return self


class Cluster(Part):
    """Where the corpus's shards run when `corpus.engine` is ray or slurm. `address` is a Ray cluster's ("auto" finds the one that this
    machine belongs to; without one Ray runs on this machine); the others are a Slurm task's."""

    address: str | None = None
    partition: str | None = None
    account: str | None = None
    minutes: Positive = 120
    memory_mb: Positive = 4000
    poll_seconds: float = Field(default=2.0, gt=0)


class Corpus(Part):
    """From files to packed tokens.

    `validation` is the share of each source's documents that is held out, of each domain at most `validation_documents`.
    `upsample = "publication-type"` reads a document 1 + score times, by what MEDLINE says it is. `passport_mb` is the most that the
    contamination passport may take. `workers`, `engine`, `cluster` and `memory_mb` (of the global steps) say how the work is
    done and leave the result alone.
    """

    sources: tuple[Source, ...] = Field(min_length=1)
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    licences: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    min_characters: int = Field(default=50, ge=0)
    max_repetition: Share | None = 0.5
    markup: Literal["plain", "meditron"] = "plain"
    references: bool = True
    near_duplicates: bool = True
    decontaminate: Share | None = 0.8
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.03
    validation_documents: Positive = 200
    upsample: Literal["none", "publication-type"] = "none"
    passport_mb: float = Field(default=64.0, gt=0)
    workers: Positive | None = None
    engine: Literal["processes", "ray", "slurm"] = "processes"
    cluster: Cluster = Cluster()
    memory_mb: Positive = 2000

    def what(self) -> dict[str, Any]:
        """What of the settings decides which documents are kept and how they read: not their sources, nor how the work is done."""
        others = {"sources", "workers", "engine", "cluster", "memory_mb", "upsample", "passport_mb"}
        return self.model_dump(mode="json", exclude=others)

    @model_validator(mode="after")
    def _mixes(self) -> Corpus:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources carry the same name; names must differ")
        total = sum(source.share or 0 for source in self.sources)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of the sources add up to {total:.3g}, more than 1")
        if all(source.share is not None for source in self.sources) and abs(total - 1) > 1e-6:
            raise ValueError(f"every source has a share, and they add up to {total:.3g} instead of 1")
        return self


class Training(Part):
    """One pass of the trainer, for continued pretraining and finetuning alike.

    `batch` is in sequences of `length` tokens for one optimiser step, whatever the layout; `micro_batch` of them are
    computed at a time. Rates are per step; `warmup` and `decay_to` are shares of the steps and of the peak rate.
    """

    epochs: float = Field(default=1.0, gt=0)
    tokens: Positive | None = None
    length: Positive = 512
    batch: Positive = 16
    micro_batch: Positive = 16
    rate: float = Field(default=3e-4, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.02, ge=0, lt=1)
    decay_to: float = Field(default=0.1, ge=0, le=1)
    betas: tuple[Moment, Moment] = (0.9, 0.95)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_seconds: float = Field(default=60.0, gt=0)

    @model_validator(mode="after")
    def _divides(self) -> Training:
        if self.batch % self.micro_batch:
            raise ValueError(f"batch = {self.batch} is not a multiple of micro_batch = {self.micro_batch}")
        if self.tokens is not None and "epochs" in self.model_fields_set:
            raise ValueError("give either epochs or tokens: each says how much is read")
        return self


class Finetuning(Training):
    """Finetuning on the training questions of `benchmarks`; only the answers are learned. `replay` mixes in corpus text."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Layout(Part):
    """How many ways the work is split: data, tensor and pipeline parallel."""

    data: Positive = 1
    tensor: Positive = 1
    pipeline: Positive = 1

    @property
    def processes(self) -> int:
        """Ranks in the whole layout."""
        return self.data * self.tensor * self.pipeline


class Benchmark(Part):
    """A benchmark: `kind` names its reader, `path` the folder or file with its questions."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    kind: Literal["medqa", "pubmedqa", "truthfulqa"]
    path: str
    train: str | None = None
    shots: int = Field(default=0, ge=0)
    mode: Literal["top-token", "option-text"] = "top-token"
    limit: Positive | None = None


class Evaluation(Part):
    """What is asked, of which benchmarks, and how. Of each held-out document the first `heldout_characters` are measured."""

    benchmarks: tuple[Benchmark, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch: Positive = 16
    heldout_characters: Positive = 10_000

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluation:
        names = [benchmark.name for benchmark in self.benchmarks]
        if len(set(names)) < len(names):
            raise ValueError("two benchmarks carry the same name; names must differ")
        return self


GGUFType = Literal["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"]


class Export(Part):
    """Which GGUF files are written, and on how many held-out positions each is held against the original."""

    types: tuple[GGUFType, ...] = Field(default=("F16", "Q8_0", "Q4_K_M"), min_length=1)
    positions: Positive = 256

    @model_validator(mode="after")
    def _types_differ(self) -> Export:
        if len(set(self.types)) < len(self.types):
            raise ValueError(f"types names one twice: {', '.join(self.types)}")
        return self


class Hardware(Part):
    """The machine a run is meant for. Watts per accelerator, gigabytes (1e9 bytes) per accelerator, dollars per hour of one."""

    name: str = "this machine"
    count: Positive = 1
    peak_tflops: float = Field(default=0.2, gt=0)
    memory_gb: float = Field(default=16.0, gt=0)
    watts: float = Field(default=100.0, gt=0)
    dollars_per_hour: float | None = Field(default=None, ge=0)
    overhead: float = Field(default=1.0, ge=1)


class Grid(Part):
    """The electricity: grams of CO2 equivalent per kWh with its origin, and the data centre's power usage effectiveness."""

    region: str = "world"
    g_per_kwh: float = Field(default=480.0, ge=0)
    source: str = "Ember, Global Electricity Review 2024: world average of 2023"
    pue: float = Field(default=1.0, ge=1)


class Card(Part):
    """What the model card says and no run can know."""

    model_name: str | None = None
    authors: str | None = None
    licence: str | None = None
    intended_use: str | None = None
    contact: str | None = None


class Recipe(Part):
    """A model's whole life."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: int = 1
    data: str | None = None
    world: World | None = None
    base: Base
    corpus: Corpus | None = None
    pretrain: Training | None = None
    finetune: Finetuning | None = None
    evaluate: Evaluation = Evaluation()
    export: Export | None = None
    layout: Layout = Layout()
    hardware: Hardware = Hardware()
    grid: Grid = Grid()
    card: Card = Card()

    _folder: Path = Path()

    @model_validator(mode="after")
    def _holds_together(self) -> Recipe:
        if self.pretrain is not None and self.corpus is None:
            raise ValueError("[pretrain] needs a [corpus] to read; add one, or leave [pretrain] out")
        if self.finetune is not None:
            known = {benchmark.name: benchmark for benchmark in self.evaluate.benchmarks}
            for name in self.finetune.benchmarks:
                if name not in known:
                    among = ", ".join(known) or "none"
                    raise ValueError(f"finetune.benchmarks names {name!r}, which is not among evaluate.benchmarks ({among})")
                if known[name].train is None:
                    raise ValueError(f"finetune.benchmarks names {name!r}, whose entry in evaluate.benchmarks has no train file")
            if self.finetune.replay and self.corpus is None:
                raise ValueError("finetune.replay mixes in corpus text, and the recipe has no [corpus]")
        if self.data is not None and self.world is not None:
            raise ValueError("a recipe has either data = a folder or a [world] that is written first, not both")
        if self.base.new is not None and self.pretrain is None:
            raise ValueError("base.new is a network without any training: add [pretrain]")
        if self.layout.processes != self.hardware.count:
            asked = f"layout.data x tensor x pipeline = {self.layout.processes} processes"
            raise ValueError(f"{asked}, one for each accelerator, and hardware.count = {self.hardware.count}")
        for name in ("pretrain", "finetune"):
            stage = getattr(self, name)
            if stage is not None and stage.micro_batch % self.layout.data:
                raise ValueError(f"{name}.micro_batch = {stage.micro_batch} does not divide over layout.data = {self.layout.data} ranks")
            if stage is not None and self.base.new is not None and stage.length > self.base.new.context:
                raise ValueError(f"{name}.length = {stage.length} is more than base.new.context = {self.base.new.context}")
        return self

    def locate(self, path: str) -> Path:
        """A path of the recipe, absolute. Not for paths in an invented world, which lie in the world's step."""
        try:
            start = self._folder if self.data is None else self._folder / Path(self.data).expanduser()
            return (start / Path(path).expanduser()).resolve()
        except (RuntimeError, ValueError) as error:  # the home of nobody, a null byte
            raise RecipeError(f"{path!r}: not a path: {error}") from None


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply what it extends and the overrides (`"train.rate=1e-4"`), and check it.

    Raises RecipeError with one line that names the file, the key and the cure.
    """
    path = Path(path)
    raw = _merged(path, seen=())
    for override in overrides:
        _apply(raw, override)
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{path}: {_explain(error)}") from None
    recipe._folder = path.resolve().parent
    return recipe


def _merged(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise RecipeError(f"{path}: extends itself by way of {' -> '.join(p.name for p in seen)}")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder; name the recipe file in it") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise RecipeError(f"{path}: extends: must be the path of one recipe file")
    return _overlay(_merged(path.parent / parent, (*seen, path.resolve())), raw)


def _overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {override}: write key=value, for example --set pretrain.rate=1e-4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word or path: quotes are the shell's, not the user's, to write
    if key.strip() == "data":
        value = str(Path(str(value)).expanduser().absolute())  # typed at a prompt, it counts from where the user stands
    *tables, last = key.strip().split(".")
    place: Any = raw
    for table in tables:
        place = _entry(place, table, override) if isinstance(place, list) else place.setdefault(table, {})
        if not isinstance(place, dict | list):
            raise RecipeError(f"--set {override}: {table} is a value, not a table")
    if isinstance(place, list):
        place[place.index(_entry(place, last, override))] = value
    else:
        place[last] = value


def _entry(entries: list[Any], name: str, override: str) -> Any:
    """A member of a list of tables, by its name or its number from 0."""
    for number, entry in enumerate(entries):
        if str(number) == name or (isinstance(entry, dict) and entry.get("name") == name):
            return entry
    known = ", ".join(str(e.get("name", i)) if isinstance(e, dict) else str(i) for i, e in enumerate(entries))
    raise RecipeError(f"--set {override}: no entry {name!r}; there are {known}")


def _explain(error: ValidationError) -> str:
    """The first fault of a recipe in one line; the number of others at its end."""
    fault, more = error.errors()[0], error.error_count() - 1
    key = ".".join(str(part) for part in fault["loc"]) or "recipe"
    if fault["type"] == "extra_forbidden":
        known = _keys(fault["loc"][:-1])
        near = get_close_matches(str(fault["loc"][-1]), known, n=1)
        cure = f"; did you mean {near[0]}?" if near else f"; known keys: {', '.join(known)}"
        text = f"unknown key{cure}"
    elif fault["type"] == "missing":
        text = "this key is required"
    elif fault["type"] == "value_error":
        text = str(fault["ctx"]["error"])
    else:
        text = f"{fault['msg'][0].lower()}{fault['msg'][1:]}, not {fault['input']!r}"
    return f"{key}: {text}" + (f" ({more} more like this)" if more else "")


def _keys(location: Iterable[Any]) -> list[str]:
    """The keys that the table at a location knows."""
    model: Any = Recipe
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
