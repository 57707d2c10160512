"""A plan held against what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ledger import Refusal
from .estimate import Plan


def against(record: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """One training step's record against its stage of the plan.

    Seconds are those of training alone, without loading, saving and evaluation, on all ranks at once; memory is what tensors took on the
    first rank at the most, in gigabytes of 1e9 bytes. Each ratio is planned / actual, None where the one or the other is not known.
    `reached` is the utilisation that the run had by the plan's peak, 6 N D counted. Raises Refusal where the plan has no such stage.
    """
    stage = next((stage for stage in plan.stages if stage.name == record["name"]), None)
    if stage is None:
        raise Refusal(f"{plan.recipe}: the plan has no stage {record['name']}, only {', '.join(s.name for s in plan.stages) or 'none'}")
    figures = record["figures"]
    seconds, memory = _seconds(figures), figures.get("memory_gb")
    planned = 3600 * stage.gpu_hours / plan.ranks
    expected = stage.pace.memory_gb if stage.pace is not None and stage.pace.memory_gb is not None else stage.memory.total_gb
    work = stage.flops * figures["tokens"] / stage.tokens
    return {
        "stage": stage.name,
        "measured_before": stage.pace is not None,
        "planned_tokens": stage.tokens, "tokens": figures["tokens"], "tokens_ratio": _ratio(stage.tokens, figures["tokens"]),
        "planned_seconds": planned, "seconds": seconds, "seconds_ratio": _ratio(planned, seconds),
        "planned_memory_gb": expected, "memory_gb": memory, "memory_ratio": _ratio(expected, memory),
        "planned_kwh": planned / 3600 * plan.ranks * plan.watts / 1000 * plan.overhead * plan.pue,
        "planned_utilisation": plan.utilisation,
        "reached": work / (seconds * plan.ranks * plan.peak_tflops * 1e12) if seconds else None,
    }


def _seconds(figures: Mapping[str, Any]) -> float | None:
    """Seconds of all steps, by the pace of those since the last start: a run that was resumed has timed these alone."""
    timed = figures["training_seconds"]
    here = figures["tokens_per_second"] * timed
    return (timed - figures["saving_seconds"]) * figures["tokens"] / here if here else None


def _ratio(planned: float, actual: float | None) -> float | None:
    return planned / actual if actual else None
