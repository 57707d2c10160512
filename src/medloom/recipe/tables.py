"""The recipe's tables other than the corpus: world, base model, training, evaluation, export, machine, grid, card."""

from __future__ import annotations

from itertools import pairwise
from pathlib import PurePath
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from .part import Moment, Name, Part, Positive


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

    @property
    def called(self) -> str | None:
        """The base's name: as the recipe says, else its folder's; None for a new network."""
        return self.name or (None if self.path is None else PurePath(self.path).name)

    @model_validator(mode="after")
    def _one_origin(self) -> Base:
        if (self.path is None) == (self.new is None):
            raise ValueError('give either base.path (a model folder, a llama2.c .bin, or "seedling") or base.new (a shape), not both')
        if self.path is not None and self.path.endswith(".bin") and self.tokenizer is None:
            raise ValueError("base.path is a llama2.c checkpoint, which holds no tokenizer: name it in base.tokenizer")
        return self


class Training(Part):
    """One pass of the trainer, for continued pretraining and finetuning alike.

    `batch` is in sequences of `length` tokens for one optimiser step, whatever the layout; `micro_batch` of them are
    computed at a time, over all data-parallel ranks. Rates are per step: `warmup` and, for "wsd", `decay` are shares of the steps,
    `decay_to` is a share of the peak rate. `horizon` stretches the schedule over so many times the steps and stops it at the last of
    them: 2 is a schedule over two epochs of which one is trained. `documents` "apart" keeps attention within each document and starts
    its positions anew; "together" is the plain form, where a row's documents see each other. `spike` names a loss as bad that stands
    so many standard deviations above those of the steps before; like a loss that is not finite, it stops the run or has its batch
    skipped, as `bad_batch` says. `heldout_every` steps the loss on held-out text is measured; `loggers` show that and all else
    while it runs. Of the checkpoints, one each `checkpoint_seconds`, the newest `keep_last` are kept, and for good those whose step is a
    multiple of `keep_every`.
    """

    epochs: float = Field(default=1.0, gt=0)
    tokens: Positive | None = None
    length: Positive = 512
    batch: Positive = 16
    micro_batch: Positive = 16
    rate: float = Field(default=3e-4, gt=0)
    schedule: Literal["cosine", "linear", "wsd", "constant"] = "cosine"
    warmup: float = Field(default=0.02, ge=0, lt=1)
    decay: float = Field(default=0.1, gt=0, le=1)
    decay_to: float = Field(default=0.1, ge=0, le=1)
    horizon: float = Field(default=1.0, ge=1)
    betas: tuple[Moment, Moment] = (0.9, 0.95)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    clip: float = Field(default=1.0, gt=0)
    z_loss: float = Field(default=0.0, ge=0)
    documents: Literal["apart", "together"] = "apart"
    spike: float | None = Field(default=None, gt=0)
    bad_batch: Literal["stop", "skip"] = "stop"
    heldout_every: Positive | None = None
    loggers: tuple[Literal["tensorboard", "trackio"], ...] = ()
    precision: Literal["auto", "fp32", "bf16", "float8"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    keep_last: Positive = 2
    keep_every: Positive | None = None

    def what(self) -> dict[str, Any]:
        """What of the settings decides what is learned: not what is kept or shown of it on the way."""
        return self.model_dump(mode="json", exclude={"checkpoint_seconds", "keep_last", "keep_every", "loggers"})

    @model_validator(mode="after")
    def _divides(self) -> Training:
        if self.batch % self.micro_batch:
            raise ValueError(f"batch = {self.batch} is not a multiple of micro_batch = {self.micro_batch}")
        if self.tokens is not None and "epochs" in self.model_fields_set and self.epochs != 1:
            raise ValueError("give either epochs or tokens: each says how much is read")
        return self


Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Lora(Part):
    """Finetuning by low-rank adapters (LoRA; DoRA with `dora`) beside the frozen `targets`, scaled by alpha / rank.

    With `merge` the new model is the base and the adapter in one, with the adapter as peft reads it in a folder `adapter`. Without it
    the adapter is all that is written, and the road ends with it.
    """

    rank: Positive = 16
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[Projection, ...] = Field(default=get_args(Projection), min_length=1)
    dora: bool = False
    merge: bool = True


class Finetuning(Training):
    """Finetuning on the training questions of `benchmarks`, and on `files` of one's own; only the answers are learned.

    `files` are JSON lines with `messages` ({role, content}, roles system, user, assistant) or with `prompt` and `completion`. `template`
    is how a conversation is written: "plain" as evaluation asks, "meditron" as the original was finetuned, "tokenizer" as the base
    model's own chat template says. `replay` mixes in corpus text. `seed` is the recipe's where it is not given; it decides the order of
    the examples and the first values of adapters.
    """

    benchmarks: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    template: Literal["plain", "chatml", "meditron", "llama2", "llama3", "mistral", "tokenizer"] = "plain"
    lora: Lora | None = None
    replay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int | None = None

    @model_validator(mode="after")
    def _has_examples(self) -> Finetuning:
        if not self.benchmarks and not self.files:
            raise ValueError("give benchmarks whose training questions are learned, or files of examples")
        return self


class Layout(Part):
    """How the work is split over processes, and how each does its part. Whatever it says, the curve is the same.

    `data`, `tensor` (with sequence parallel and a parallel loss) and `pipeline` count ways. `sharding` says how the data-parallel ranks
    hold the weights: each a share ("full"), `shard` ranks a copy between them ("hybrid"), each a whole copy ("none"). A pipeline rank
    runs `stages` stages; more than one of them interleave. `recompute` trades time for memory: activations are kept ("none"), what is cheap
    is computed again ("selective": norms, rotations, gates), or all within a layer ("full"). `compile` takes a minute and then
    saves time: "auto" is on a GPU only.
    """

    data: Positive = 1
    tensor: Positive = 1
    pipeline: Positive = 1
    sharding: Literal["full", "hybrid", "none"] = "full"
    shard: Positive | None = None
    stages: Positive = 1
    recompute: Literal["none", "selective", "full"] = "none"
    compile: bool | Literal["auto"] = "auto"

    @model_validator(mode="after")
    def _holds_together(self) -> Layout:
        if (self.sharding == "hybrid") != (self.shard is not None):
            raise ValueError('sharding = "hybrid" and shard = N (ranks that hold a copy between them) go together')
        if self.shard is not None and self.data % self.shard:
            raise ValueError(f"data = {self.data} is not a multiple of shard = {self.shard}")
        if self.stages > 1 and self.pipeline == 1:
            raise ValueError(f"stages = {self.stages} per rank needs pipeline = 2 or more")
        return self

    @property
    def processes(self) -> int:
        """Ranks in the whole layout."""
        return self.data * self.tensor * self.pipeline

    @property
    def shards(self) -> int:
        """Data-parallel ranks that hold one copy of the weights between them."""
        return {"full": self.data, "hybrid": self.shard or 1, "none": 1}[self.sharding]

    def cuts(self, layers: int) -> list[range]:
        """The layers of each pipeline stage, first to last: as even as they divide, the last with one less, for the head is there."""
        stages = self.pipeline * self.stages
        size, more = divmod(layers, stages)
        ends = [0]
        for stage in range(stages):
            ends.append(ends[-1] + size + (stage < more))
        return [range(first, last) for first, last in pairwise(ends)]

    def places(self, rank: int) -> range:
        """The numbers of the stages that a pipeline rank has: every so-manieth, so that a batch passes each rank several times."""
        return range(rank, self.pipeline * self.stages, self.pipeline)


Mode = Literal["top-token", "option-text", "generation", "chain-of-thought", "self-consistency"]
Normalise = Literal["sum", "token", "byte"]
Protocol = Literal["medloom", "meditron"]


class Benchmark(Part):
    """A benchmark: `kind` names its reader, `path` the folder or file with its questions, `part` a part of it that the reader knows.

    `domain` "general" marks one that asks for what the model knew before medicine, and so whether it forgot that.
    `seeds` draw the shots, the recipe's seed where there are none; every further one asks all questions again. `rotations` asks each
    lettered question once for every place that its options can be turned to. `normalise` is what an option's log-probability is divided
    by in option-text. `branches` and `temperature` are self-consistency's; `tokens` is the most that a generated answer may have, by
    default 32, and 512 where the model thinks aloud.
    """

    name: Name
    kind: Literal["medqa", "medmcqa", "pubmedqa", "mmlu", "truthfulqa"]
    path: str
    part: str | None = None
    domain: Literal["medical", "general"] = "medical"
    train: str | None = None
    shots: int = Field(default=0, ge=0)
    seeds: tuple[int, ...] = ()
    mode: Mode = "top-token"
    normalise: Normalise = "sum"
    rotations: bool = False
    branches: Positive = 10
    temperature: float = Field(default=0.7, gt=0)
    tokens: Positive | None = None
    limit: Positive | None = None


class OtherModel(Part):
    """A model that is asked beside the road's: `path` a model folder or a GGUF file, or `url` an OpenAI-compatible server's.

    `model` is the server's name for it. `tokenizer`, a model folder, cuts prompts where the server or the file does not.
    """

    name: Name
    path: str | None = None
    url: str | None = None
    model: str | None = None
    tokenizer: str | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> OtherModel:
        if (self.path is None) == (self.url is None):
            raise ValueError(f"the model {self.name} needs a path or a url, and not both")
        if self.name in ("base", "pretrained", "finetuned"):
            raise ValueError(f"{self.name} is the name of a model of the road; choose another")
        return self


class Evaluation(Part):
    """What is asked, of which benchmarks, and how. Of each held-out document the first `heldout_characters` are measured."""

    benchmarks: tuple[Benchmark, ...] = ()
    models: tuple[OtherModel, ...] = ()
    protocol: Protocol = "medloom"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch: Positive = 16
    heldout_characters: Positive = 10_000

    @model_validator(mode="after")
    def _names_differ(self) -> Evaluation:
        for what, named in (("benchmarks", self.benchmarks), ("models", self.models)):
            if len({one.name for one in named}) < len(named):
                raise ValueError(f"two {what} carry the same name; names must differ")
        return self


GGUFType = Literal["F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL",
                   "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q2_K", "IQ2_M", "IQ2_S", "IQ2_XS",
                   "IQ2_XXS"]


class OtherFile(Part):
    """A GGUF file made elsewhere, of this road's model, that the gate holds against it like our own."""

    name: Name
    path: str


class Export(Part):
    """Which GGUF files are written, and what the gate lets pass.

    `imatrix` positions of the training corpus tell which columns of each matrix matter, and quantisation then spares those; types of two
    bits and some of three need it. `files` were made elsewhere; `compressed` are model folders for vLLM, which the gate does not
    judge. Each file is held against the model on `positions` of held-out text and on all benchmarks;
    it passes where it is shown to lose no more than `margin`, a share of all questions, and `kl` nats a token.
    """

    types: tuple[GGUFType, ...] = ("F16", "Q8_0", "Q4_K_M")
    files: tuple[OtherFile, ...] = ()
    compressed: tuple[Literal["W4A16", "W8A16"], ...] = ()
    imatrix: Positive | None = None
    positions: Positive = 2048
    margin: float = Field(default=0.01, gt=0, lt=1)
    kl: float = Field(default=0.01, gt=0)

    @property
    def names(self) -> tuple[str, ...]:
        """Every file's name: its type, or what the recipe calls one made elsewhere."""
        return (*self.types, *(file.name for file in self.files))

    @model_validator(mode="after")
    def _names_differ(self) -> Export:
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"types and files name one twice: {', '.join(self.names)}")
        if not self.names and not self.compressed:
            raise ValueError("types and files are both empty: name a type to write, or leave [export] out")
        coarse = [kind for kind in self.types if kind.startswith(("IQ2", "IQ3_X"))]
        if coarse and self.imatrix is None:
            raise ValueError(f"{coarse[0]} is garbage without an importance matrix: set imatrix, for example imatrix = 100_000 positions")
        if {"base", "pretrained", "finetuned"} & set(self.names):
            raise ValueError("files: base, pretrained and finetuned are names of models of the road; choose another")
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
    """What the model card says and no run can know. `datasets` names the Hub's dataset ("owner/name") of a benchmark."""

    model_name: str | None = None
    authors: str | None = None
    licence: str | None = None
    intended_use: str | None = None
    contact: str | None = None
    datasets: dict[str, str] = Field(default_factory=dict)
