"""Layouts that hold a run, the quickest first.

Each is judged by the time of a step: the products at what a device alone reaches, what is computed twice, the pipeline's idle part, and
the messages that computing does not hide. Good for an order, not for a promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Literal

from ..fit import misfits
from ..ledger import Refusal
from ..model.config import ModelConfig
from ..recipe import Finetuning, Layout, Recipe, Training
from .devices import Device
from .estimate import RESERVE, stage_memory
from .memory import Memory
from .network import network, tokens_flops

ALONE = 0.50  # share of the peak that one device reaches where it waits for no other
AGAIN = {"none": 1.0, "selective": 1.05, "full": 4 / 3}  # of the products: a second forward pass, of selective only what is cheap
TABLE = 12  # layouts of a search that are shown

Sharding = Literal["full", "hybrid"]


@dataclass(frozen=True)
class Candidate:
    """A layout that fits. Seconds of one step, by what they are spent on, `gathering` hidden behind computing or not; `hours` for all
    tokens; `utilisation` 6 N D counted."""

    layout: Layout
    rows: int
    micro_batch: int
    memory: Memory
    seconds: float
    computing: float
    idle: float
    tensor_messages: float
    data_messages: float
    gathering: float
    utilisation: float
    hours: float

    @property
    def overrides(self) -> tuple[str, ...]:
        """What to `--set` for it."""
        layout = self.layout
        keys = [f"layout.data={layout.data}", f"layout.tensor={layout.tensor}", f"layout.pipeline={layout.pipeline}",
                f"layout.recompute={layout.recompute}", f"layout.sharding={layout.sharding}"]
        return (*keys, *([f"layout.shard={layout.shard}"] if layout.shard else []), f"pretrain.micro_batch={self.micro_batch}",
                f"hardware.count={layout.processes}")


def search(recipe: Recipe, device: Device, count: int, tokens: int | None = None) -> tuple[list[Candidate], Counter[str]]:
    """Layouts of `count` devices that hold the recipe's pretraining, or its finetuning where it has none, the quickest first; and how many
    of the others failed by which law.

    Of each grid of data, tensor and pipeline ways the best is taken: of what is as quick within a hundredth, the way with fewer
    messages, and then the larger micro-batch. Raises Refusal where none fits.
    """
    settings = recipe.pretrain or recipe.finetune
    if settings is None:
        raise Refusal(f"{recipe.name}: trains nothing, so there is no layout to search; add [pretrain] or [finetune]")
    config, _ = network(recipe)
    found: dict[tuple[int, int], list[Candidate]] = {}
    refused: Counter[str] = Counter()
    for layout in _layouts(recipe, count, device.per_node):
        for rows in _rows(settings.batch, layout.data):
            one = _judge(recipe, config, settings, layout, device, rows, tokens, refused)
            if one is not None:
                found.setdefault((layout.tensor, layout.pipeline), []).append(one)
    if not found:
        most = "; ".join(f"{times} {why}" for why, times in refused.most_common(3))
        raise Refusal(f"{recipe.name}: no layout of {count} x {device.name} holds it ({most}); take more devices, or ones with more memory")
    return sorted(map(_best, found.values()), key=lambda one: one.seconds), refused


def _best(fits: Sequence[Candidate]) -> Candidate:
    quickest = min(one.seconds for one in fits)
    return min((one for one in fits if one.seconds <= 1.01 * quickest), key=lambda one: (one.gathering, -one.rows, one.memory.total_gb))


def _layouts(recipe: Recipe, count: int, per_node: int) -> Iterator[Layout]:
    alone = isinstance(recipe.finetune, Finetuning) and recipe.finetune.lora is not None  # adapters are not split
    ways = [1] if alone else [size for size in range(1, count + 1) if count % size == 0]
    for tensor, pipeline, recompute in product(ways, ways, ("none", "selective", "full")):
        if tensor > per_node or count % (tensor * pipeline):
            continue
        data = count // (tensor * pipeline)
        local = max(1, per_node // tensor)
        shardings: list[tuple[Sharding, int | None]] = [("full", None)]
        if data > local and data % local == 0 and local > 1:
            shardings.append(("hybrid", local))
        for sharding, shard in shardings:
            yield recipe.layout.model_copy(update={"data": data, "tensor": tensor, "pipeline": pipeline, "recompute": recompute,
                                                   "sharding": sharding, "shard": shard, "stages": 1})


def _rows(batch: int, data: int) -> Sequence[int]:
    """Rows of a rank's micro-batch that divide its part of the batch."""
    own = batch // data if batch % data == 0 else 0
    return [rows for rows in range(1, min(own, 64) + 1) if own % rows == 0]


def _judge(recipe: Recipe, config: ModelConfig, settings: Training, layout: Layout, device: Device, rows: int, tokens: int | None,
           refused: Counter[str]) -> Candidate | None:
    settings = settings.model_copy(update={"micro_batch": rows * layout.data})
    if any(True for _ in misfits(config, settings, layout)):
        refused["do not divide"] += 1
        return None
    held = stage_memory(recipe.model_copy(update={"layout": layout, "hardware": device.hardware(layout.processes, 1.0)}), config, settings)
    if held.total_gb > device.memory_gb * (1 - RESERVE):
        refused["need more memory"] += 1
        return None
    return _time(config, settings, layout, device, rows, held, tokens or settings.tokens or settings.batch * settings.length)


def _time(config: ModelConfig, settings: Training, layout: Layout, device: Device, rows: int, held: Memory, tokens: int) -> Candidate:
    lora = settings.lora if isinstance(settings, Finetuning) else None
    dense, with_attention = tokens_flops(config, settings.length, lora)
    step, ranks, micro = settings.batch * settings.length, layout.processes, settings.batch // settings.micro_batch
    computing = with_attention * step * AGAIN[layout.recompute] / (ranks * device.peak_tflops * 1e12 * ALONE)
    idle = computing * (layout.pipeline - 1) / (layout.stages * micro)
    # Four gathers and four reductions of a layer's hidden states, forward and back, in two bytes.
    own = rows * settings.length * micro
    sent = 16 * config.layers / layout.pipeline * own * config.hidden_size * (layout.tensor - 1) / layout.tensor
    tensor_messages = sent / (device.link_gb_s * 1e9)
    hidden = computing if layout.pipeline == 1 else computing / micro  # within a pipeline only the last gradient's
    gathering = _gathering(config, layout, device, micro)
    data_messages = max(0.0, gathering - hidden)
    seconds = computing + idle + tensor_messages + data_messages
    return Candidate(layout=layout, rows=rows, micro_batch=settings.micro_batch, memory=held, seconds=seconds, computing=computing,
                     idle=idle, tensor_messages=tensor_messages, data_messages=data_messages, gathering=gathering,
                     utilisation=dense * step / (ranks * seconds * device.peak_tflops * 1e12),
                     hours=ceil(tokens / step) * seconds / 3600)


def _gathering(config: ModelConfig, layout: Layout, device: Device, micro: int) -> float:
    """Seconds a step to gather weights in bfloat16, twice a micro-batch (once a step in a pipeline), and to reduce gradients in float32."""
    if layout.data == 1:
        return 0.0
    own = config.parameters / (layout.tensor * layout.pipeline)
    local = max(1, device.per_node // layout.tensor)
    network = min(device.link_gb_s, device.network_gb_s * local)  # a node's ranks send by all its adapters at once

    def seconds(volume: float, ways: int) -> float:
        return volume * (ways - 1) / ways / ((device.link_gb_s if ways <= local else network) * 1e9)

    times = 1 if layout.pipeline > 1 else micro
    within = times * (seconds(4 * own, layout.shards) + seconds(4 * own, layout.shards))
    copies = layout.data // layout.shards
    return within + (times * seconds(8 * own / layout.shards, copies) if copies > 1 else 0.0)
