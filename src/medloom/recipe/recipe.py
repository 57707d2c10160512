"""A recipe read from its file: typed, whole, checked.

`read_recipe` turns a file into frozen, typed models. A recipe may extend another (`extends = "other.toml"`, tables
merge key by key, lists replace), and `--set key=value` overrides any key. Whatever is wrong with it is one
RecipeError, whose message names the file, the key and the cure.

Relative paths count from `data` where the recipe sets it (or from the invented world where it has a `[world]`),
else from the folder of the recipe file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator

from .corpus import Corpus
from .part import Part, RecipeError
from .tables import Base, Card, Evaluation, Export, Finetuning, Grid, Hardware, Layout, Training, World


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
            if self.finetune.lora is not None and self.layout.tensor * self.layout.pipeline > 1:
                raise ValueError("finetune.lora with layout.tensor or pipeline > 1: adapters are not split; layout.data shards too")
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

    def what(self) -> dict[str, Any]:
        """What of the recipe decides the model, and not what is asked of it or made of it: what its digest stands for."""
        made = {name: stage.what() for name in ("corpus", "pretrain", "finetune") if (stage := getattr(self, name)) is not None}
        sources = [] if self.corpus is None else [source.model_dump(mode="json") for source in self.corpus.sources]
        return {"seed": self.seed, **self.model_dump(mode="json", include={"world", "base"}), **made, "sources": sources}

    def standing_alone(self) -> dict[str, Any]:
        """All keys, ready for JSON, for a file that means the same wherever it lies: `read_recipe` reads it."""
        start = {} if self.world is not None else {"data": str(self.locate(""))}
        return {**self.model_dump(mode="json", exclude_none=True), **start}

    def locate(self, path: str) -> Path:
        """A path of the recipe, absolute. Not for paths in an invented world, which lie in the world's step."""
        try:
            start = self._folder if self.data is None else self._folder / Path(self.data).expanduser()
            return (start / Path(path).expanduser()).resolve()
        except (RuntimeError, ValueError) as error:  # the home of nobody, a null byte
            raise RecipeError(f"{path!r}: not a path: {error}") from None


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply what it extends and the overrides (`"train.rate=1e-4"`), and check it.

    The file is TOML, or the recipe.json that a run left. Raises RecipeError with one line that names the file, the key and the cure.
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
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe file") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: is a folder; name the recipe file in it") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid {'JSON' if path.suffix == '.json' else 'TOML'}: {error}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: holds no recipe, which is an object of tables")
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
