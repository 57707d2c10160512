"""The plan as lines of text, with the arithmetic."""

from __future__ import annotations

from .estimate import Plan


def describe(plan: Plan) -> str:
    """A table a reader can check with a pocket calculator: each line a quantity, its value, and how it came about."""
    layout, held = plan.layout, plan.memory
    rows = [
        ("parameters", f"{plan.parameters:,}", f"from {plan.network}"),
        ("tokens", f"{plan.tokens:,}", " + ".join(f"{stage.name} {stage.tokens:,}" for stage in plan.stages) or "nothing is trained"),
        ("steps", f"{plan.steps:,}", "; ".join(f"{stage.name} {stage.tokens_per_step:,} tokens a step" for stage in plan.stages)),
        ("FLOPs, 6 N D", f"{plan.flops:.4g}", f"6 x {plan.parameters:.4g} x {plan.tokens:.4g}"),
        ("FLOPs, with attention", f"{plan.flops_with_attention:.4g}",
         "PaLM convention: 6 N without input embeddings + 12 x layers x width x length a token"),
        ("ranks", f"{plan.ranks}", f"data {layout['data']} x tensor {layout['tensor']} x pipeline {layout['pipeline']}, {plan.device}"),
        ("memory per rank", f"{plan.memory_per_rank_gb:.3g} GB",
         f"weights {held.weights_gb:.3g} + gradients {held.gradients_gb:.3g} + optimiser {held.optimiser_gb:.3g} + working copy "
         f"{held.working_gb:.3g} + activations {held.activations_gb:.3g} + logits {held.logits_gb:.3g}, stage {held.stage}"),
        ("fits", "yes" if plan.fits else "no", "; ".join(plan.reasons) or f"{plan.memory_available_gb:.3g} GB are to be had on each"),
        ("utilisation", f"{plan.utilisation:.3f}",
         f"of {plan.peak_tflops:g} TFLOP/s by 6 N D; {plan.utilisation_with_attention:.3f} with attention"),
        ("device hours", _number(plan.gpu_hours),
         f"{plan.flops:.4g} / ({plan.peak_tflops:g}e12 x {plan.utilisation:.3f}) / 3600; at utilisation 0.25, 0.40, 0.50: "
         + ", ".join(_number(hours) for hours in plan.gpu_hours_range.values())),
        ("hours", _number(plan.hours), f"{_number(plan.gpu_hours)} / {plan.ranks} ranks"),
        ("energy", f"{_number(plan.kwh)} kWh",
         f"{_number(plan.gpu_hours)} h x {plan.watts:g} W x node overhead {plan.overhead:g} x PUE {plan.pue:g} / 1000"),
        ("carbon", f"{_number(plan.kg_co2e)} kg CO2e", f"{_number(plan.kwh)} kWh x {plan.g_per_kwh:g} g/kWh / 1000 ({plan.grid})"),
    ]
    if plan.dollars is not None:
        price = plan.dollars / plan.gpu_hours if plan.gpu_hours else 0.0
        rows.append(("cost", f"{plan.dollars:,.2f} $", f"{_number(plan.gpu_hours)} h x {price:.4g} $ an hour"))
    names, values = max(len(name) for name, _, _ in rows), max(len(value) for _, value, _ in rows)
    lines = [f"Plan of {plan.recipe}"] + [f"  {name:<{names}}  {value:>{values}}  {how}".rstrip() for name, value, how in rows]
    return "\n".join(lines + [f"  note: {note}" for note in plan.notes])


def _number(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.3g}"
