"""From a recipe to its plan: the sums, and the verdict whether the machine can hold the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from ..ledger import Refusal
from ..ledger.files import files_at
from ..model.config import ModelConfig
from ..recipe import Recipe, Training
from .memory import RESERVE, Memory, memory
from .network import network, tokens_flops

UTILISATION = 0.40  # share of the peak that well-tuned runs of 7 to 70 billion parameters reach, 6 N D counted
RANGE = (0.25, 0.40, 0.50)
BYTES_PER_TOKEN = 4.0
ACCELERATOR_TFLOPS = 10.0


@dataclass(frozen=True)
class Stage:
    """One training stage. `flops` is 6 N D; `flops_with_attention` follows the PaLM convention."""

    name: str
    tokens: int
    steps: int
    tokens_per_step: int
    flops: float
    flops_with_attention: float


@dataclass(frozen=True)
class Plan:
    """What a run will take. Gigabytes are 1e9 bytes, `kwh` includes node overhead and PUE, carbon is in kg of CO2 equivalent.

    `gpu_hours` counts `ranks` accelerators for `hours`; `gpu_hours_range` holds the same at low, middle and high utilisation.
    `reasons` says why it does not fit, `notes` what was assumed or left out.
    """

    recipe: str
    network: str
    parameters: int
    tokens: int
    steps: int
    flops: float
    flops_with_attention: float
    stages: tuple[Stage, ...]
    ranks: int
    layout: dict[str, int]
    device: str
    peak_tflops: float
    utilisation: float
    utilisation_with_attention: float
    memory: Memory
    memory_per_rank_gb: float
    memory_available_gb: float
    fits: bool
    reasons: tuple[str, ...]
    gpu_hours: float
    gpu_hours_range: dict[str, float]
    hours: float
    watts: float
    overhead: float
    pue: float
    kwh: float
    g_per_kwh: float
    grid: str
    kg_co2e: float
    dollars: float | None
    notes: tuple[str, ...]


def plan(recipe: Recipe, *, model_folder: Path | None = None, utilisation: float | None = None, tokens: int | None = None) -> Plan:
    """Plan a recipe. `model_folder` tells the network where the recipe's own base is elsewhere; `utilisation` (0 to 1) is of the peak,
    6 N D counted, and the prior is 0.40; `tokens` are those of the pretraining where the corpus has been counted already.

    Raises Refusal where the network's shape or the number of tokens cannot be known.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise Refusal(f"utilisation = {utilisation:g}: must lie above 0 and not above 1; 0.40 is usual, 0.10 for code that was never tuned")
    if tokens is not None and tokens <= 0:
        raise Refusal(f"tokens = {tokens}: must be above 0")
    used = UTILISATION if utilisation is None else utilisation
    config, origin = network(recipe, model_folder)
    notes = [] if utilisation is not None else [f"utilisation {used:.2f} is a prior, not a measurement"]
    stages = tuple(_stages(recipe, config, tokens, notes))
    flops = sum(stage.flops for stage in stages)
    with_attention = sum(stage.flops_with_attention for stage in stages)
    held = _fullest(recipe, config)
    reasons = tuple(_obstacles(recipe, config, held))
    machine, grid, ranks = recipe.hardware, recipe.grid, recipe.layout.processes
    notes.append("evaluation, failed starts and trials are not counted")
    peak = machine.peak_tflops * 1e12

    def gpu_hours(share: float) -> float:
        return flops / (peak * share) / 3600

    kwh = gpu_hours(used) * machine.watts / 1000 * machine.overhead * grid.pue
    return Plan(
        recipe=recipe.name,
        network=origin,
        parameters=config.parameters,
        tokens=sum(stage.tokens for stage in stages),
        steps=sum(stage.steps for stage in stages),
        flops=flops,
        flops_with_attention=with_attention,
        stages=stages,
        ranks=ranks,
        layout={"data": recipe.layout.data, "tensor": recipe.layout.tensor, "pipeline": recipe.layout.pipeline},
        device=machine.name,
        peak_tflops=machine.peak_tflops,
        utilisation=used,
        utilisation_with_attention=used * with_attention / flops if flops else used,
        memory=held,
        memory_per_rank_gb=held.total_gb,
        memory_available_gb=machine.memory_gb * (1 - RESERVE),
        fits=not reasons,
        reasons=reasons,
        gpu_hours=gpu_hours(used),
        gpu_hours_range={name: gpu_hours(share) for name, share in zip(("low", "middle", "high"), RANGE, strict=True)},
        hours=gpu_hours(used) / ranks,
        watts=machine.watts,
        overhead=machine.overhead,
        pue=grid.pue,
        kwh=kwh,
        g_per_kwh=grid.g_per_kwh,
        grid=f"{grid.region}: {grid.source}",
        kg_co2e=kwh * grid.g_per_kwh / 1000,
        dollars=None if machine.dollars_per_hour is None else gpu_hours(used) * machine.dollars_per_hour,
        notes=tuple(notes),
    )


def _stages(recipe: Recipe, config: ModelConfig, counted: int | None, notes: list[str]) -> Iterator[Stage]:
    if recipe.pretrain is not None:
        yield _stage("pretrain", recipe.pretrain, config, counted or recipe.pretrain.tokens or _on_disk(recipe, notes))
    if recipe.finetune is not None:
        if recipe.finetune.tokens is not None:
            yield _stage("finetune", recipe.finetune, config, recipe.finetune.tokens)
        else:
            notes.append("finetuning is not counted: its tokens are known once its examples are written, or from finetune.tokens")
    if recipe.pretrain is None and recipe.finetune is None:
        notes.append("the recipe trains nothing")


def _stage(name: str, settings: Training, config: ModelConfig, tokens: int) -> Stage:
    dense, with_attention = tokens_flops(config, settings.length)
    step = settings.batch * settings.length
    return Stage(name, tokens, ceil(tokens / step), step, dense * tokens, with_attention * tokens)


def _on_disk(recipe: Recipe, notes: list[str]) -> int:
    """Tokens from the size of the source files: a first guess, markup counted as if it were text."""
    assert recipe.corpus is not None and recipe.pretrain is not None
    cure = "set pretrain.tokens to plan before the corpus is built"
    if recipe.world is not None:
        raise Refusal(f"{recipe.name}: the invented world is not written yet, so its tokens are unknown; {cure}")
    whole = [source for source in recipe.corpus.sources if source.share is None]
    if not whole:
        raise Refusal(f"{recipe.name}: every source has a share, so pretrain.tokens says how many are drawn; {cure}")
    size = 0
    for source in whole:
        place = recipe.locate(source.path)
        lengths = [file.stat().st_size * (5 if file.suffix == ".gz" else 1) for file in files_at(place).values()]
        if not lengths:
            raise Refusal(f"{place}: the source {source.name} has no file there, so its tokens are unknown; put them there or {cure}")
        size += sum(lengths)
    drawn = sum(source.share or 0 for source in recipe.corpus.sources)
    notes.append(f"tokens are guessed from {size / 1e6:,.1f} MB of source files at {BYTES_PER_TOKEN:g} bytes each, markup included")
    return max(1, round(size / BYTES_PER_TOKEN * recipe.pretrain.epochs / (1 - drawn)))


def _fullest(recipe: Recipe, config: ModelConfig) -> Memory:
    """The fullest rank of the hungriest training stage; where nothing is trained, of one sequence of the model's length."""
    asked = [stage for stage in (recipe.pretrain, recipe.finetune) if stage is not None]
    settings = asked or [Training(length=min(config.max_positions, 2048), batch=1, micro_batch=1)]
    return max((memory(config, recipe.layout, sequences=max(1, stage.micro_batch // recipe.layout.data), length=stage.length,
                       accumulation=stage.batch // stage.micro_batch, low_precision=_low_precision(recipe, stage)) for stage in settings),
               key=lambda found: found.total_gb)


def _low_precision(recipe: Recipe, stage: Training) -> bool:
    """Whether "auto" will mean bfloat16: on accelerators, which the peak tells from processors before any is in reach."""
    if stage.precision != "auto":
        return stage.precision == "bf16"
    return stage.device != "cpu" and recipe.hardware.peak_tflops >= ACCELERATOR_TFLOPS


def _obstacles(recipe: Recipe, config: ModelConfig, held: Memory) -> Iterator[str]:
    layout, machine = recipe.layout, recipe.hardware
    if config.heads % layout.tensor:
        yield f"{config.heads} attention heads do not divide over layout.tensor = {layout.tensor}"
    if config.layers < layout.pipeline:
        yield f"{config.layers} layers cannot fill layout.pipeline = {layout.pipeline} stages"
    for name, stage in (("pretrain", recipe.pretrain), ("finetune", recipe.finetune)):
        if stage is not None and stage.length > config.max_positions:
            yield f"{name}.length = {stage.length} is more than the model's {config.max_positions} positions"
    available = machine.memory_gb * (1 - RESERVE)
    if held.total_gb > available:
        yield (f"a rank needs {held.total_gb:.1f} GB and has {available:.1f} ({machine.memory_gb:g} less {RESERVE:.0%} in reserve); "
               "lower micro_batch, or raise layout.tensor or layout.data")
