"""What is to be served: models by name, each from a file, a folder, or another server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal
from medloom.ledger.files import sha256_file, sha256_json
from medloom.model import ModelConfig
from medloom.model.gguf_file import gguf_digest, open_gguf
from medloom.model.templates import has_template

from .abstention import read_calibration
from .engines import Engine, LlamaCpp, Upstream, Vllm
from .models import Model
from .templates import FILE, PLAIN, SERVER, named_template

LARGEST_CONTEXT = 4096
UNKNOWN_CONTEXT = 2048  # of a file that does not tell


@dataclass(frozen=True)
class Offer:
    """A model to be served under a name: a GGUF file or a model folder at `path`, or what the server at `url` calls `model`.

    template: the form of its conversations by name, None for the model's own; calibration: the file that says when it abstains.
    """

    name: str
    path: Path | None = None
    url: str | None = None
    model: str | None = None
    template: str | None = None
    calibration: Path | None = None


@dataclass(frozen=True)
class Settings:
    """What all models of a server share.

    context: tokens of one request, prompt and answer together (by default the model's own, at most 4096); slots: requests of a model that
    run at once; queue: how many more may wait, patience: for how many seconds; threads: of all engines on this machine together, by default
    one less than there are cores; embeddings: whether they make those too.
    """

    context: int | None = None
    slots: int = 4
    queue: int = 16
    patience: float = 60.0
    threads: int | None = None
    embeddings: bool = False

    def __post_init__(self) -> None:
        if self.slots < 1 or self.queue < 0 or not self.patience > 0 or (self.context or 8) < 8 or (self.threads or 1) < 1:
            raise Refusal(f"serve: slots = {self.slots}, queue = {self.queue}, patience = {self.patience}, context = {self.context}, "
                          f"threads = {self.threads}: give at least 1, 0, more than 0, 8 and 1")


def offer(text: str) -> Offer:
    """[NAME=]FILE or [NAME=]URL[#MODEL]. Raises Refusal for something else."""
    name, equals, place = text.partition("=")
    if not equals or "/" in name:
        name, place = "", text
    if place.startswith(("http://", "https://")):
        url, _, model = place.partition("#")
        return Offer(name or model, url=url, model=model or None)
    if not place:
        raise Refusal(f"{text!r}: write FILE, NAME=FILE or NAME=URL, for example ours=model.gguf")
    path = Path(place)
    return Offer(name or (path.resolve().name if path.is_dir() else path.stem), path)


def with_templates(offers: Sequence[Offer], chosen: Sequence[str]) -> list[Offer]:
    """The offers with the templates chosen for them, as FORM for all or NAME=FORM. Raises Refusal for a name or a form there is not."""
    found = list(offers)
    for text in chosen:
        name, equals, form = text.rpartition("=")
        named_template(form)
        if equals and all(one.name != name for one in found):
            raise Refusal(f"--template {text}: no model is named {name!r}; there is {', '.join(one.name for one in found)}")
        found = [replace(one, template=form) if one.name == name or not equals else one for one in found]
    return found


def with_calibrations(offers: Sequence[Offer], chosen: Sequence[str]) -> list[Offer]:
    """The offers with their calibrations, each as FILE for the only model or NAME=FILE. Raises Refusal for a name there is not."""
    found = list(offers)
    for text in chosen:
        name, equals, file = text.partition("=")
        if not equals:
            name, file = found[0].name if len(found) == 1 else "", text
        if all(one.name != name for one in found):
            raise Refusal(f"--calibration {text}: say of which model it is, as in NAME=FILE, with one of "
                          f"{', '.join(one.name for one in found)}")
        found = [replace(one, calibration=Path(file)) if one.name == name else one for one in found]
    return found


def open_models(offers: Sequence[Offer], settings: Settings) -> list[Model]:
    """The models, not yet started. Raises Refusal for a file that is none, and for two models of one name."""
    if not offers:
        raise Refusal("serve: no model is given")
    distinct([one.name for one in offers if one.name])  # a server's only model has its name from the server
    cores = settings.threads or max(1, (os.cpu_count() or 2) - 1)
    threads = max(1, cores // max(1, sum(one.path is not None for one in offers)))
    return [_opened(one, settings, threads) for one in offers]


def _opened(one: Offer, settings: Settings, threads: int) -> Model:
    engine: Engine
    if one.path is not None and one.path.is_dir():
        config = ModelConfig.from_folder(one.path)
        engine = Vllm(one.path, context=min(settings.context or LARGEST_CONTEXT, config.max_positions), slots=settings.slots)
        weights = sorted(one.path.glob("*.safetensors"))
        facts = {"name": one.path.resolve().name, "file": one.path.resolve().name, "bytes": sum(file.stat().st_size for file in weights)}
        own = FILE if has_template(one.path) else PLAIN
    elif one.path is not None:
        said = describe(one.path)
        context = min(settings.context or LARGEST_CONTEXT, said["context"])
        engine = LlamaCpp(one.path, context=context, slots=settings.slots, threads=threads, embeds=settings.embeddings)
        facts = {"name": said["name"], "file": one.path.name, "bytes": one.path.stat().st_size}
        own = FILE if said["chat_template"] else PLAIN
    else:
        assert one.url is not None
        engine = Upstream(one.url, one.model, key=os.environ.get("MEDLOOM_API_KEY"), slots=settings.slots, context=settings.context)
        facts, own = {}, SERVER
    return Model(one.name, engine, named_template(one.template) if one.template else own, facts, queue=settings.queue,
                 patience=settings.patience, calibration=read_calibration(one.calibration) if one.calibration else None)


def distinct(names: Sequence[str]) -> None:
    """Raises Refusal for a name that comes twice."""
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise Refusal(f"serve: two models are named {doubled!r}; name them apart, as in first=FILE second=FILE")


def start(model: Model) -> None:
    """Start a model's engine, and complete what is told of it. Raises Refusal where the engine cannot be started or reached."""
    engine = model.engine
    engine.start()
    if isinstance(engine, LlamaCpp):
        model.facts["sha256"] = gguf_digest(engine.model)
    elif isinstance(engine, Vllm):
        digests = {file.name: sha256_file(file) for file in sorted(engine.folder.glob("*.safetensors"))}
        model.facts["sha256"] = next(iter(digests.values())) if len(digests) == 1 else sha256_json(digests)
    elif isinstance(engine, Upstream):
        told = engine.said.get("metadata")
        facts = told if isinstance(told, dict) else {}
        model.facts |= {key: facts.get(key) for key in ("file", "bytes", "sha256")} | {"name": facts.get("name") or engine.model}
        model.name = model.name or str(engine.model)
    if model.calibration is not None:
        model.calibration.check(model.facts.get("sha256"), model.template.name)


def describe(model: Path) -> dict[str, Any]:
    """What a GGUF file says of itself: {"name", "context", "chat_template"}. Raises Refusal as `open_gguf` does."""
    head = open_gguf(model)
    return {"name": head.value("general.name") or model.stem,
            "context": head.value(f"{head.value('general.architecture')}.context_length") or UNKNOWN_CONTEXT,
            "chat_template": head.value("tokenizer.chat_template")}
