"""The card's sections on how the model was made: training, energy and carbon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from .data import numbers
from .results import table
from .trail import Trail

SETTINGS = ("epochs", "tokens", "length", "batch", "micro_batch", "rate", "schedule", "warmup", "decay_to", "betas", "epsilon",
            "weight_decay", "clip", "precision", "replay", "benchmarks")


def base_name(recipe: Mapping[str, Any]) -> str:
    """What to call the base model: its stated name, or the last member of its path."""
    base = recipe.get("base") or {}
    if base.get("name"):
        return str(base["name"])
    return PurePath(base["path"]).name if base.get("path") else "a network drawn at random"


def training_procedure(trail: Trail) -> list[str]:
    """The settings of each training stage, and what the stage recorded."""
    stages = [stage for stage in ("pretrain", "finetune") if trail.recipe.get(stage)]
    if not stages:
        return ["Nothing was trained.", ""]
    shown = [name for name in SETTINGS if any(trail.recipe[stage].get(name) is not None for stage in stages)]
    rows = [[name.replace("_", " "), *("-" if _unused(trail, stage, name) else trail.cite(f"{stage}: {name}", f"recipe:{stage}/{name}")
                                       for stage in stages)] for name in shown]
    fresh = (trail.recipe.get("base") or {}).get("new")
    titles = {"pretrain": "Pretraining" if fresh else "Continued pretraining", "finetune": "Finetuning"}
    lines = table(["Setting", *(titles[stage] for stage in stages)], rows)
    lines += ["Warm-up is a share of the steps and `decay to` of the highest rate; the batch counts sequences of `length` tokens. "
              "Optimiser: AdamW.", ""]
    for stage in stages:
        found = list(numbers(trail, stage))
        if found:
            lines += table([titles[stage], "Figure"], [[name, trail.cite(f"{stage}: {name}", key)] for name, key in found])
    return lines


def _unused(trail: Trail, stage: str, name: str) -> bool:
    """Whether a setting did nothing: a stage that reads a number of tokens counts no epochs."""
    return name == "epochs" and trail.recipe[stage].get("tokens") is not None


def environment(trail: Trail) -> tuple[list[str], float | None]:
    """Energy and carbon with each factor named once; also the carbon in kg of CO2 equivalent, None where no step recorded energy."""
    metered = {name: _energy(step) for name, step in trail.steps.items()}
    known = {name: found for name, found in metered.items() if found is not None}
    if not known:
        return ["No step recorded energy.", ""], None
    grid, machine = trail.recipe.get("grid") or {}, trail.recipe.get("hardware") or {}
    kwh = sum(found[0] for found in known.values())
    keys = ", ".join(f"{name}:{found[2]}" for name, found in known.items())
    overhead, pue, grams = machine.get("overhead", 1.0), grid.get("pue", 1.0), grid.get("g_per_kwh")
    methods = sorted({found[1] for found in known.values() if found[1]})
    rows = [
        ["Hardware", machines(trail)],
        ["Energy of all recorded steps", f"{trail.cite('energy of all steps, kWh', f'sum({keys})', 'plain', 0, kwh)} kWh"],
        ["How it was known", "; ".join(methods) or "not stated"],
        ["Node overhead, a factor", trail.cite("node overhead", "recipe:hardware/overhead")],
        ["Power usage effectiveness, a factor", trail.cite("power usage effectiveness", "recipe:grid/pue")],
    ]
    if grams is None:
        return [*table(["Factor", "Value"], rows), "The grid's intensity is not stated, so no carbon is worked out.", ""], None
    carbon = kwh * overhead * pue * grams / 1000
    rule = "product(energy, recipe:hardware/overhead, recipe:grid/pue, recipe:grid/g_per_kwh)"
    rows += [
        ["Grid intensity", f"{trail.cite('grid intensity, g/kWh', 'recipe:grid/g_per_kwh')} gCO2e/kWh"],
        ["Source of the grid intensity", f"{grid.get('region')}: {grid.get('source')}"],
        ["Carbon: energy x overhead x effectiveness x intensity", f"{trail.cite('carbon, kg', rule, 'plain', 0, carbon)} kgCO2e"],
    ]
    note = "Making the hardware, and runs that are not in this ledger, are not counted."
    return [*table(["Factor", "Value"], rows), note, ""], carbon


def _energy(step: Mapping[str, Any]) -> tuple[float, str, str] | None:
    """Kilowatt hours, how they were known, and the path to them."""
    energy = step.get("energy")
    if isinstance(energy, Mapping) and energy.get("kwh") is not None:
        return float(energy["kwh"]), str(energy.get("method") or ""), "energy/kwh"
    if step.get("energy_kwh") is not None:
        return float(step["energy_kwh"]), str(step.get("energy_method") or ""), "energy_kwh"
    return None


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
