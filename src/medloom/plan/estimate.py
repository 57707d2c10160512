"""From a recipe to its plan: the sums, and the verdict whether the machine can hold the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from ..fit import misfits
from ..ledger import Refusal
from ..ledger.files import files_at
from ..model.config import ModelConfig
from ..recipe import Finetuning, Layout, Lora, Recipe, Training
from ..schedule import rate, warmup_steps
from .devices import Device, device_of
from .disk import Disk, disk
from .memory import Memory, Way, memory
from .network import adapter_parameters, network, tokens_flops

UTILISATION = 0.40  # share of the peak that well-tuned runs of 7 to 70 billion parameters reach, 6 N D counted
RANGE = {"low": 0.25, "middle": 0.40, "high": 0.50}
BYTES_PER_TOKEN = 4.0
ACCELERATOR_TFLOPS = 10.0
RESERVE = 0.06  # of an accelerator: context, communication buffers, fragmentation
CPU_RESERVE = 0.30  # of a machine's memory: the process itself, and what its allocator keeps in holes


@dataclass(frozen=True)
class Pace:
    """What a probe of a stage found: seconds of one optimiser step on one rank, gigabytes that its tensors took, and how it was done."""

    seconds_per_step: float
    memory_gb: float | None
    how: str


@dataclass(frozen=True)
class Stage:
    """One training stage. `flops` is 6 N D; `flops_with_attention` follows the PaLM convention. Rates are the peak and that of the last
    step. `gpu_hours` are all ranks' together."""

    name: str
    tokens: int
    steps: int
    tokens_per_step: int
    micro_batches: int
    warmup_steps: int
    peak_rate: float
    last_rate: float
    learned: int
    flops: float
    flops_with_attention: float
    memory: Memory
    gpu_hours: float
    pace: Pace | None


@dataclass(frozen=True)
class Plan:
    """What a run will take. Gigabytes are 1e9 bytes, `kwh` includes node overhead and PUE, carbon is in kg of CO2 equivalent.

    `gpu_hours` counts `ranks` accelerators for `hours`; `gpu_hours_range` holds the same at low, middle and high utilisation, unless it
    was measured. `memory` is that of the hungriest stage; without an accelerator `copy_gb` comes on top while a checkpoint is written.
    `reasons` says why it does not fit, `notes` what was assumed or left out.
    """

    recipe: str
    network: str
    parameters: int
    learned: int
    tokens: int
    steps: int
    flops: float
    flops_with_attention: float
    stages: tuple[Stage, ...]
    ranks: int
    layout: dict[str, int]
    device: str
    device_source: str
    peak_tflops: float
    utilisation: float
    utilisation_with_attention: float
    measured: bool
    memory: Memory
    memory_per_rank_gb: float
    copy_gb: float
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
    disk: Disk
    notes: tuple[str, ...]


def plan(recipe: Recipe, *, model_folder: Path | None = None, utilisation: float | None = None, tokens: Mapping[str, int] | None = None,
         device: Device | None = None, paces: Mapping[str, Pace] | None = None) -> Plan:
    """Plan a recipe. `model_folder` tells the network where the recipe's own base is elsewhere; `utilisation` (0 to 1) is of the peak,
    6 N D counted, and the prior is 0.40; `tokens` are those of a stage where they are known already, by its name; `device` the one that
    its hardware was taken from; `paces` what a probe measured of a stage, which then tells its time.

    Raises Refusal where the network's shape or the number of tokens cannot be known.
    """
    if utilisation is not None and not 0 < utilisation <= 1:
        raise Refusal(f"utilisation = {utilisation:g}: must lie above 0 and not above 1; 0.40 is usual, 0.10 for code that was never tuned")
    if any(count <= 0 for count in (tokens or {}).values()):
        raise Refusal(f"tokens = {dict(tokens or {})}: must be above 0")
    share, paces = utilisation or UTILISATION, paces or {}
    device = device or device_of(recipe.hardware)
    config, origin = network(recipe, model_folder)
    notes: list[str] = []
    trained = list(_trained(recipe, tokens or {}, notes))
    stages = tuple(_stage(recipe, config, name, settings, count, share, paces.get(name)) for name, settings, count in trained)
    measured = bool(stages) and all(stage.pace is not None for stage in stages)
    notes += [f"{stage.name}: {stage.pace.how}" for stage in stages if stage.pace is not None]
    if utilisation is None and not measured:
        notes.append(f"utilisation {share:.2f} is a prior, not a measurement; --probe measures where the run is to be")
    held = max((stage.memory for stage in stages), key=lambda found: found.total_gb, default=None) or _idle(recipe, config)
    available = recipe.hardware.memory_gb * (1 - (RESERVE if _accelerated(recipe) else CPU_RESERVE))
    copy = 0.0 if _accelerated(recipe) else 1.5 * held.optimiser_gb  # of the weights that learn and their two averages
    reasons = (*dict.fromkeys(_obstacles(recipe, config)), *_too_much(recipe, held.total_gb + copy, available))
    notes += _remarks(recipe, device)
    machine, grid, ranks = recipe.hardware, recipe.grid, recipe.layout.processes
    peak, flops, with_attention = machine.peak_tflops * 1e12, sum(s.flops for s in stages), sum(s.flops_with_attention for s in stages)
    gpu_hours = sum(stage.gpu_hours for stage in stages)
    reached = flops / (peak * gpu_hours * 3600) if gpu_hours else share
    kwh = gpu_hours * machine.watts / 1000 * machine.overhead * grid.pue
    return Plan(
        recipe=recipe.name,
        network=origin,
        parameters=config.parameters,
        learned=max((stage.learned for stage in stages), default=0),
        tokens=sum(stage.tokens for stage in stages),
        steps=sum(stage.steps for stage in stages),
        flops=flops,
        flops_with_attention=with_attention,
        stages=stages,
        ranks=ranks,
        layout={"data": recipe.layout.data, "tensor": recipe.layout.tensor, "pipeline": recipe.layout.pipeline},
        device=machine.name,
        device_source=device.source if not device.year else f"{device.source}, {device.year}",
        peak_tflops=machine.peak_tflops,
        utilisation=reached,
        utilisation_with_attention=reached * with_attention / flops if flops else reached,
        measured=measured,
        memory=held,
        memory_per_rank_gb=held.total_gb,
        copy_gb=copy,
        memory_available_gb=available,
        fits=not reasons,
        reasons=reasons,
        gpu_hours=gpu_hours,
        gpu_hours_range={} if measured else {name: flops / (peak * at) / 3600 for name, at in RANGE.items()},
        hours=gpu_hours / ranks,
        watts=machine.watts,
        overhead=machine.overhead,
        pue=grid.pue,
        kwh=kwh,
        g_per_kwh=grid.g_per_kwh,
        grid=f"{grid.region}: {grid.source}",
        kg_co2e=kwh * grid.g_per_kwh / 1000,
        dollars=None if machine.dollars_per_hour is None else gpu_hours * machine.dollars_per_hour,
        disk=disk(recipe, config, [(settings, count, stage.steps, stage.learned)
                                   for (_, settings, count), stage in zip(trained, stages, strict=True)]),
        notes=(*notes, "evaluation, held-out loss, checkpoints, failed starts and trials are not counted in time and energy"),
    )


def way_of(recipe: Recipe, settings: Training) -> Way:
    """How the trainer will compute. "auto" is bfloat16 and compiled on accelerators, which the peak tells from processors before any is in
    reach."""
    accelerated = _accelerated(recipe) and settings.device != "cpu"
    low = settings.precision in ("bf16", "float8") or (settings.precision == "auto" and accelerated)
    compiled = recipe.layout.compile is True or (recipe.layout.compile == "auto" and accelerated)
    return Way(2 if low else 4, compiled, accelerated, cast=low and not accelerated and recipe.layout.processes == 1)


def stage_memory(recipe: Recipe, config: ModelConfig, settings: Training) -> Memory:
    """The fullest rank in a stage."""
    lora = settings.lora if isinstance(settings, Finetuning) else None
    return memory(config, recipe.layout, way_of(recipe, settings), rows=max(1, settings.micro_batch // recipe.layout.data),
                  length=settings.length, accumulation=settings.batch // settings.micro_batch, lora=lora)


def fitting_layers(recipe: Recipe, config: ModelConfig, settings: Training, memory_gb: float) -> int:
    """How many of a network's layers one process can train in so much memory, by the micro-batch of one rank of the layout."""
    alone = Layout(recompute=recipe.layout.recompute, compile=recipe.layout.compile)
    own = settings.model_copy(update={"micro_batch": max(1, settings.micro_batch // recipe.layout.data)})
    alone_recipe = recipe.model_copy(update={"layout": alone})
    available = memory_gb * (1 - (RESERVE if _accelerated(recipe) else CPU_RESERVE))
    return max((layers for layers in range(1, config.layers + 1)
                if stage_memory(alone_recipe, replace(config, layers=layers), own).total_gb <= available), default=0)


def _trained(recipe: Recipe, known: Mapping[str, int], notes: list[str]) -> Iterator[tuple[str, Training, int]]:
    if recipe.pretrain is not None:
        yield "pretrain", recipe.pretrain, known.get("pretrain") or recipe.pretrain.tokens or _on_disk(recipe, notes)
    if recipe.finetune is not None:
        count = known.get("finetune") or recipe.finetune.tokens
        if count is not None:
            yield "finetune", recipe.finetune, count
        else:
            notes.append("finetuning is not counted: its tokens are known once its examples are written, or from finetune.tokens")
    if recipe.pretrain is None and recipe.finetune is None:
        notes.append("the recipe trains nothing")


def _stage(recipe: Recipe, config: ModelConfig, name: str, settings: Training, tokens: int, share: float, pace: Pace | None) -> Stage:
    lora: Lora | None = settings.lora if isinstance(settings, Finetuning) else None
    dense, with_attention = tokens_flops(config, settings.length, lora)
    step = settings.batch * settings.length
    steps = ceil(tokens / step)
    if pace is None:
        gpu_hours = dense * tokens / (recipe.hardware.peak_tflops * 1e12 * share) / 3600
    else:
        gpu_hours = pace.seconds_per_step * tokens / step * recipe.layout.processes / 3600
    return Stage(name=name, tokens=tokens, steps=steps, tokens_per_step=step, micro_batches=settings.batch // settings.micro_batch,
                 warmup_steps=warmup_steps(settings, steps), peak_rate=settings.rate, last_rate=rate(settings, steps - 1, steps),
                 learned=adapter_parameters(config, lora) if lora is not None else config.parameters,
                 flops=dense * tokens, flops_with_attention=with_attention * tokens,
                 memory=stage_memory(recipe, config, settings), gpu_hours=gpu_hours, pace=pace)


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


def _idle(recipe: Recipe, config: ModelConfig) -> Memory:
    """Where no stage is counted: of the finetuning, or of one sequence of the model's length."""
    settings = recipe.finetune or Training(length=min(config.max_positions, 2048), batch=recipe.layout.data, micro_batch=recipe.layout.data)
    return stage_memory(recipe, config, settings)


def _accelerated(recipe: Recipe) -> bool:
    return recipe.hardware.peak_tflops >= ACCELERATOR_TFLOPS


def _obstacles(recipe: Recipe, config: ModelConfig) -> Iterator[str]:
    for name, stage in (("pretrain", recipe.pretrain), ("finetune", recipe.finetune)):
        for fault in misfits(config, stage, recipe.layout) if stage is not None else ():
            yield fault if fault.startswith("layout") else f"{name}: {fault}"


def _too_much(recipe: Recipe, needed: float, available: float) -> Iterator[str]:
    if needed > available:
        share = 1 - available / recipe.hardware.memory_gb
        yield (f"a rank needs {needed:.1f} GB and has {available:.1f} ({recipe.hardware.memory_gb:g} less {share:.0%} in reserve); "
               "lower micro_batch, recompute more, or raise layout.data or layout.tensor")


def _remarks(recipe: Recipe, device: Device) -> Iterator[str]:
    """What of a topology works, and slowly."""
    layout = recipe.layout
    if layout.tensor > device.per_node:
        yield f"layout.tensor = {layout.tensor} reaches over nodes of {device.per_node}: each layer then waits for the network"
    if layout.processes > device.per_node and layout.processes % device.per_node:
        yield f"{layout.processes} ranks do not fill nodes of {device.per_node}"
    for name, stage in (("pretrain", recipe.pretrain), ("finetune", recipe.finetune)):
        if stage is not None and layout.pipeline > 1:
            micro = stage.batch // stage.micro_batch
            idle = (layout.pipeline - 1) / (layout.stages * micro + layout.pipeline - 1)
            yield f"{name}: a pipeline of {layout.pipeline} stands idle for {idle:.0%} of a step of {micro} micro-batches"
