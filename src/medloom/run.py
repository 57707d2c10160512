"""Walks a recipe's road in a ledger and leaves `summary.json` beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ledger import Done, Ledger, Progress, Refusal, Step, ancestry
from .ledger.files import files_at, write_json
from .recipe import Recipe
from .road import Road
from .summary import summarise

Tell = Callable[[Step, Done], None]


@dataclass(frozen=True)
class Run:
    """What a walk ended with: where it lies, each step by name, how many were run just now, and the summary."""

    root: Path
    done: dict[str, Done]
    fresh: int
    seconds: float
    summary: dict[str, Any]


def check(road: Road, targets: Sequence[Step]) -> None:
    """Refuse what can be known to fail before any work is done."""
    _check_files(targets)
    _check_fit(road.recipe, road.models["base"])
    _check_template(road.recipe, road.models["base"], targets)


def _check_files(targets: Sequence[Step]) -> None:
    """Refuse where a file or folder that the targets rest on is missing, before any work is done."""
    outside = {path for step in ancestry(targets) for path in step.inputs.values() if isinstance(path, Path)}
    missing = sorted(path for path in outside if not files_at(path))
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        cure = "paths count from data (--set data=DIR), or from the recipe"
        raise Refusal(f"{missing[0]}: no such file, or a folder without one{others}; {cure}")


def _check_fit(recipe: Recipe, base: Step | Path) -> None:
    """Refuse settings and layouts that the base model does not fit, where its config.json tells it before any work is done."""
    from .fit import check_fit
    from .model import ModelConfig

    if isinstance(base, Path) and (base / "config.json").is_file():
        for stage in (recipe.pretrain, recipe.finetune):
            if stage is not None:
                check_fit(ModelConfig.from_folder(base), stage, recipe.layout)


def _check_template(recipe: Recipe, base: Step | Path, targets: Sequence[Step]) -> None:
    """Refuse to finetune by a template that writes tokens which the base model does not know, where it lies there to be asked."""
    if recipe.finetune is None or recipe.finetune.template == "plain" or not isinstance(base, Path):
        return
    if any(step.name == "finetune" for step in ancestry(targets)):
        from .model import load_template

        load_template(recipe.finetune.template, base)


def run(recipe: Recipe, root: Path, progress: Progress, tell: Tell, until: str | None = None, started: float | None = None) -> Run:
    """Make whole all steps of the recipe, or those that `until` names a stage of, and tell of each.

    `started` is the monotonic clock at which the user's wait began. Steps that are there already are not run again;
    an interrupted walk goes on from where it was.
    """
    started = time.monotonic() if started is None else started
    road = Road(recipe)
    targets = road.until(until) if until else list(road.steps.values())
    check(road, targets)
    ledger = Ledger(root, watts=recipe.hardware.watts)
    done: dict[str, Done] = {}
    with ledger.opened():
        write_json(root / "recipe.json", recipe.standing_alone())
        for step, result in ledger.walk(targets, progress, title=recipe.name):
            done[step.name] = result
            tell(step, result)
        fresh = sum(result.fresh for result in done.values())
        seconds = time.monotonic() - started
        recorded = sum(float(result.record["wall_seconds"]) for result in done.values())
        summary = summarise(recipe, done, root, seconds if fresh == len(done) else recorded)
        if fresh or not (root / "summary.json").exists():
            write_json(root / "summary.json", summary)
    return Run(root, done, fresh, seconds, summary)
