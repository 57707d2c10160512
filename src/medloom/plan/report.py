"""The plan as tables, with the arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .estimate import Plan
from .search import TABLE, Candidate

if TYPE_CHECKING:
    from rich.table import Table

Row = tuple[str, str, str]


def tables(plan: Plan) -> Iterator[Table]:
    """Tables a reader can check with a pocket calculator: each line a quantity, its value, and how it came about."""
    yield _table(f"Plan of {plan.recipe}", _work(plan))
    yield _table(f"Memory of the fullest rank: stage {plan.memory.stage} of the pipeline, at {plan.memory.moment}", _memory(plan))
    yield _table("Time, energy, carbon", _time(plan))
    if plan.disk.total_gb:
        yield _table("Disk", _disk(plan))


def search_table(found: Sequence[Candidate], refused: Counter[str], memory_gb: float) -> Table:
    """The quickest layouts that fit."""
    from rich.table import Column, Table

    numbers = ("data", "tensor", "pipeline", "rows a rank", "GB", "step, s", "idle", "tensor messages", "data messages", "of peak", "hours")
    table = Table(*(Column(name, justify="right") for name in numbers), "sharding", "recompute",
                  title=f"{len(found)} grids of ranks fit into {memory_gb:g} GB, the quickest first; "
                        + ", ".join(f"{times} tries {why}" for why, times in refused.items()), title_justify="left")
    for one in found[:TABLE]:
        layout, step = one.layout, one.seconds
        shares = (f"{part / step:.0%}" for part in (one.idle, one.tensor_messages, one.data_messages))
        table.add_row(str(layout.data), str(layout.tensor), str(layout.pipeline), str(one.rows), f"{one.memory.total_gb:.1f}",
                      f"{step:.3g}", *shares, f"{one.utilisation:.1%}", _number(one.hours),
                      f"hybrid {layout.shard}" if layout.shard else layout.sharding, layout.recompute)
    return table


def _work(plan: Plan) -> Iterator[Row]:
    adapters = [stage for stage in plan.stages if stage.learned < plan.parameters]
    yield "parameters", f"{plan.parameters:,}", f"from {plan.network}"
    for stage in adapters:
        yield f"{stage.name}: learned", f"{stage.learned:,}", "weights of the adapters; the others are frozen"
    for stage in plan.stages:
        yield f"{stage.name}: tokens", f"{stage.tokens:,}", ""
        yield f"{stage.name}: steps", f"{stage.steps:,}", f"{stage.tokens_per_step:,} tokens each, in {stage.micro_batches} micro-batches"
        yield (f"{stage.name}: warm-up", f"{stage.warmup_steps:,}",
               f"{stage.warmup_steps / stage.steps:.1%} of the steps; rate {stage.peak_rate:.3g} then, {stage.last_rate:.3g} at the end")
    yield ("FLOPs, 6 N D", f"{plan.flops:.4g}",
           " + ".join(f"{stage.flops / stage.tokens:.4g} a token x {stage.tokens:.4g}" for stage in plan.stages) or "nothing is trained")
    yield ("FLOPs, with attention", f"{plan.flops_with_attention:.4g}",
           "PaLM's count: without looked-up embeddings, and 12 x layers x width x length a token")


def _memory(plan: Plan) -> Iterator[Row]:
    held, layout = plan.memory, plan.layout
    number = "bfloat16" if held.bytes_per_number == 2 else "float32"
    split = f"data {layout['data']} x tensor {layout['tensor']} x pipeline {layout['pipeline']}"
    yield "weights", f"{held.weights_gb:.3g} GB", f"float32; {split}"
    yield "averages of AdamW", f"{held.optimiser_gb:.3g} GB", "two, float32"
    yield "gradients", f"{held.gradients_gb:.3g} GB", "float32, those that are there at this moment"
    yield "working copies", f"{held.working_gb:.3g} GB", "weights gathered or cast, gradients on their way"
    yield "activations", f"{held.activations_gb:.3g} GB", f"products in {number}"
    yield "logits", f"{held.logits_gb:.3g} GB", "float32"
    for stage in plan.stages:
        if stage.pace is not None and stage.pace.memory_gb is not None:
            yield f"{stage.name}: probed", f"{stage.pace.memory_gb:.3g} GB", f"estimate {stage.memory.total_gb:.3g} GB"
    if plan.copy_gb:
        yield "copy to be saved", f"{plan.copy_gb:.3g} GB", "weights and averages, while a checkpoint is written; not in the sum"
    yield ("in all", f"{held.total_gb:.3g} GB", f"{plan.memory_available_gb:.3g} GB are to be had: " + ("it fits" if not
           any(reason.startswith("a rank needs") for reason in plan.reasons) else "it does not fit"))
    yield "verdict", "fits" if plan.fits else "does not fit", "; ".join(plan.reasons)


def _time(plan: Plan) -> Iterator[Row]:
    yield "machine", f"{plan.ranks}", f"x {plan.device} ({plan.device_source})"
    yield ("utilisation", f"{plan.utilisation:.3f}", f"of {plan.peak_tflops:.4g} TFLOP/s by 6 N D"
           f"{', measured' if plan.measured else ''}; {plan.utilisation_with_attention:.3f} with attention")
    spread = ", ".join(f"{_number(hours)} at {name}" for name, hours in plan.gpu_hours_range.items())
    yield ("device hours", _number(plan.gpu_hours), f"{plan.flops:.4g} / ({plan.peak_tflops:.4g}e12 x {plan.utilisation:.3f}) / 3600"
           + (f"; {spread} utilisation (0.25, 0.40, 0.50)" if spread else ""))
    yield "hours", _number(plan.hours), f"{_number(plan.gpu_hours)} / {plan.ranks} ranks"
    yield ("energy", f"{_number(plan.kwh)} kWh",
           f"{_number(plan.gpu_hours)} h x {plan.watts:g} W x node overhead {plan.overhead:g} x PUE {plan.pue:g} / 1000")
    yield "carbon", f"{_number(plan.kg_co2e)} kg CO2e", f"{_number(plan.kwh)} kWh x {plan.g_per_kwh:g} g/kWh / 1000 ({plan.grid})"
    if plan.dollars is None:
        yield "cost", "unknown", "hardware.dollars_per_hour says what an hour of one device costs"
    else:
        price = plan.dollars / plan.gpu_hours if plan.gpu_hours else 0.0
        yield "cost", f"{plan.dollars:,.2f} $", f"{_number(plan.gpu_hours)} h x {price:.4g} $"


def _disk(plan: Plan) -> Iterator[Row]:
    found = plan.disk
    yield "tokens", f"{found.tokens_gb:.3g} GB", "read by training, 2 bytes each, 4 where the vocabulary is above 65,536"
    yield "checkpoints", f"{found.checkpoints_gb:.3g} GB", "12 bytes a weight that learns: those kept, and the one being written"
    yield "models", f"{found.models_gb:.3g} GB", "bfloat16, one for each stage"
    for kind, size in found.gguf_gb.items():
        yield f"GGUF {kind}", f"{size:.3g} GB", ""
    yield "in all", f"{found.total_gb:.3g} GB", "beside the sources and the corpus as text"


def _table(title: str, rows: Iterator[Row]) -> Table:
    from rich.table import Column, Table

    table = Table("quantity", Column("value", justify="right"), "how", title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    return table


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"
