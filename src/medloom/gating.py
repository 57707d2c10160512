"""The gate on a recipe's road: what is known of each file, and which files of which model are judged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ledger import Refusal
from .ledger.files import read_json, write_json
from .model.gguf_file import gguf_digest
from .recipe import Base, Recipe, read_recipe

if TYPE_CHECKING:
    from .quantise import Margins

PICTURE = "quantisation.png"
_COMPARED = ("n", "accuracy", "base_accuracy", "difference", "low", "high", "gained", "lost", "p_value")


def chosen(model: Path, recipe: Path | None, types: Sequence[str], files: Sequence[Path], margin: float | None, kl: float | None,
           overrides: Sequence[str]) -> tuple[Recipe, Path]:
    """The recipe whose road ends at the gate that a command line means, and where its run is kept.

    model: the folder of a run, a recipe, or a model folder, of which `recipe` says what to ask and to read. types, files, margin (points)
    and kl stand for the keys of `export` where they are given.
    """
    said = [f"export.types={json.dumps(list(types))}"] if types else []
    if files:
        entries = (f"{{name={json.dumps(_called(path))}, path={json.dumps(str(path.absolute()))}}}" for path in files)
        said.append(f"export.files=[{', '.join(entries)}]")
    said += [] if margin is None else [f"export.margin={margin / 100!r}"]
    said += [] if kl is None else [f"export.kl={kl!r}"]
    said += overrides
    if (model / "recipe.json").is_file():
        return read_recipe(model / "recipe.json", said), model
    if model.is_file():
        read = read_recipe(model, said)
        return read, Path("runs") / read.name
    if not (model / "config.json").is_file():
        raise Refusal(f"{model}: neither the folder of a run, nor a recipe, nor a model folder")
    if recipe is None:
        raise Refusal(f"{model}: a model folder, which does not say what to ask it; name a recipe with --recipe, or the folder of its run")
    read = read_recipe(recipe, said)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model.resolve().name).strip("-._")
    return (read.model_copy(update={"base": Base(path=str(model.absolute())), "pretrain": None, "finetune": None, "name": name}),
            Path("runs") / name)


def _called(file: Path) -> str:
    """A name for the table, of a file made elsewhere."""
    return re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-") or "file"


def pass_gate(files: Mapping[str, Path], inputs: Mapping[str, Path], benchmarks: Sequence[str], model: str, margins: Margins,
              name: str, licence: str | None, out: Path) -> dict[str, Any]:
    """Judge every GGUF file; write gate.json, a picture, and a card for each file.

    files: by type; inputs: the folders of the steps "reference", "measure-TYPE", "evaluate-TYPE-BENCHMARK" and "evaluate-MODEL-BENCHMARK",
    where `model` is the name of the model that the files were made of. Returns {"margins", "smallest": the smallest type that passes, or
    None, "files": a row for each}.
    """
    from .quantise import draw_losses, judge, smallest, write_file_cards

    reference = _figures(inputs["reference"])
    rows, judgements = [], {}
    for kind, file in files.items():
        measured = _figures(inputs[f"measure-{kind}"])
        compared, pooled = _answers(kind, model, benchmarks, inputs)
        judgements[kind] = judge(kind, measured, pooled, compared, margins)
        rows.append({"type": kind, "file": file.name, "bytes": file.stat().st_size, "sha256": gguf_digest(file), **measured,
                     "base_bits_per_byte": reference["bits_per_byte"], "pooled": pooled, "benchmarks": compared,
                     **judgements[kind].figures()})
    found = {"margins": asdict(margins), "smallest": smallest(judgements, {row["type"]: row["bytes"] for row in rows}), "files": rows}
    write_json(out / "gate.json", found)
    draw_losses(rows, margins, out / PICTURE)
    write_file_cards(name, licence, rows, margins, out / "cards")
    return found


def _answers(kind: str, model: str, benchmarks: Sequence[str], inputs: Mapping[str, Path]
             ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """One file against the model on each benchmark, and on all questions together."""
    from .evaluate import compare_benchmarks

    pairs = {each: (inputs[f"evaluate-{kind}-{each}"], inputs[f"evaluate-{model}-{each}"]) for each in benchmarks}
    if not pairs:
        return [], None
    *each, pooled = compare_benchmarks({name: (ours / "answers.jsonl", theirs / "answers.jsonl") for name, (ours, theirs) in pairs.items()})
    rows = []
    for comparison in each:
        own, theirs = (_figures(folder) for folder in pairs[comparison.benchmark])
        figures = comparison.figures()
        rows.append({"benchmark": comparison.benchmark, **{key: figures[key] for key in _COMPARED},
                     "mode": own["mode"], "ece": _error(own), "base_ece": _error(theirs)})
    figures = pooled.figures()
    return rows, {key: figures[key] for key in _COMPARED}


def _error(figures: Mapping[str, Any]) -> float | None:
    """The expected calibration error, None where answers are texts."""
    return figures["calibration"]["ece"] if "calibration" in figures else None


def _figures(folder: Path) -> dict[str, Any]:
    figures: dict[str, Any] = read_json(folder / "record.json")["figures"]
    return figures
