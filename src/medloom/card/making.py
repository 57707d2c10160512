"""The card's sections on how the model was made: training, energy and carbon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from .data import numbers
from .prose import Section, said, table
from .trail import Trail

SETTINGS = ("epochs", "tokens", "length", "batch", "micro_batch", "rate", "schedule", "warmup", "decay_to", "betas", "epsilon",
            "weight_decay", "clip", "precision", "replay", "benchmarks")


def base_name(recipe: Mapping[str, Any]) -> str:
    """What to call the base model: its stated name, or the last member of its path."""
    base = recipe.get("base") or {}
    if base.get("name"):
        return str(base["name"])
    return PurePath(base["path"]).name if base.get("path") else "a network drawn at random"


def training_procedure(trail: Trail) -> Section:
    """The settings of each training stage, and what the stage recorded."""
    section = Section("training", "Training procedure", [])
    stages = [stage for stage in ("pretrain", "finetune") if trail.recipe.get(stage)]
    if not stages:
        section.words = ["Nothing was trained.", ""]
        return section
    shown = [name for name in SETTINGS if any(trail.recipe[stage].get(name) is not None for stage in stages)]
    rows = [[name.replace("_", " "), *("-" if _unused(trail, stage, name) else trail.cite(f"{stage}: {name}", f"recipe:{stage}/{name}")
                                       for stage in stages)] for name in shown]
    fresh = (trail.recipe.get("base") or {}).get("new")
    titles = {"pretrain": "Pretraining" if fresh else "Continued pretraining", "finetune": "Finetuning"}
    section.words = [f"{', then '.join(titles[stage].lower() for stage in stages).capitalize()}, by AdamW. Warm-up is a share of the steps "
                     "and `decay to` of the highest rate; the batch counts sequences of `length` tokens.", ""]
    section.tables = table(["Setting", *(titles[stage] for stage in stages)], rows)
    for stage in stages:
        found = list(numbers(trail, stage))
        if found:
            section.tables += table([titles[stage], "Figure"], [[said(name), trail.cite(f"{stage}: {name}", key)] for name, key in found])
    return section


def _unused(trail: Trail, stage: str, name: str) -> bool:
    """Whether a setting did nothing: a stage that reads a number of tokens counts no epochs."""
    return name == "epochs" and trail.recipe[stage].get("tokens") is not None


ENERGY = "sum(*:energy/kwh)"
GRAMS = f"product({ENERGY}, recipe:hardware/overhead, recipe:grid/pue, recipe:grid/g_per_kwh)"


def environment(trail: Trail) -> Section:
    """Energy and carbon, each factor named once, and of the energy whether it was measured or assumed."""
    section = Section("environment", "Environmental impact", [])
    if trail.find(ENERGY) is None:
        section.words = ["No step recorded energy.", ""]
        return section
    grid, mark = trail.recipe.get("grid") or {}, trail.new_mark()
    energy = trail.cite("energy of all steps, kWh", ENERGY, "plain", mark)
    rows = [
        ["Hardware", said(machines(trail))],
        ["Energy of all recorded steps", f"{energy} kWh"],
        ["How it was known", said("; ".join(methods(trail)) or "not stated")],
        ["Node overhead, a factor", trail.cite("node overhead", "recipe:hardware/overhead", "plain", mark)],
        ["Power usage effectiveness, a factor", trail.cite("power usage effectiveness", "recipe:grid/pue", "plain", mark)],
    ]
    told = f"All steps of this run took {energy} kWh, {_certainty(trail)}"
    if trail.find(GRAMS) is None:
        told += ". The grid's intensity is not stated, so no carbon is worked out"
    else:
        carbon = trail.cite("carbon, kg", GRAMS, "thousandths", mark)
        told += f"; by the stated factors that is {carbon} kg of CO2 equivalent"
        rows += [
            ["Grid intensity", f"{trail.cite('grid intensity, g/kWh', 'recipe:grid/g_per_kwh', 'plain', mark)} gCO2e/kWh"],
            ["Source of the grid intensity", said(f"{grid.get('region')}: {grid.get('source')}")],
            ["Carbon: energy x overhead x effectiveness x intensity", f"{carbon} kgCO2e"],
        ]
    section.words = [f"{told}.[^{mark}] Making the hardware, and runs that are not in this ledger, are not counted.", ""]
    section.tables = table(["Factor", "Value"], rows)
    return section


def methods(trail: Trail) -> list[str]:
    """How the steps' energy was known, each way once."""
    ways = {str(step["energy"].get("method") or "") for step in trail.steps.values() if isinstance(step.get("energy"), Mapping)}
    return sorted(filter(None, ways))


def _certainty(trail: Trail) -> str:
    assumed = [method.startswith("assumed") for method in methods(trail)]
    if assumed and not any(assumed):
        return "as the machine's counters measured it"
    return "an estimate: no meter could be read" if all(assumed) else "in part measured by the machine's counters, in part an estimate"


def machines(trail: Trail) -> str:
    seen: list[str] = []
    for step in trail.steps.values():
        machine = step.get("hardware")
        if not isinstance(machine, Mapping):
            continue
        told = ", ".join(machine.get("accelerators") or ()) or f"{machine.get('processor')}, {machine.get('cores')} cores"
        if told not in seen:
            seen.append(told)
    return "; ".join(seen) or "not recorded"
