"""Bytes that one rank holds while it trains: the states exactly, the activations estimated.

Assumed, as the trainer does it: states sharded over the ranks that hold a copy between them and over those of tensor parallelism, AdamW,
float32 master weights, gradients and moments, one-forward-one-backward pipeline, sequence parallel beside tensor parallel, attention
that never stores the score matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..model.config import ModelConfig
from ..recipe import Layout

GB = 1e9
RESERVE = 0.06  # of the device: context, communication buffers, fragmentation


@dataclass(frozen=True)
class Memory:
    """Gigabytes (1e9 bytes) on the fullest rank, by what they hold, and the place of that rank in the pipeline, from 0."""

    weights_gb: float
    gradients_gb: float
    optimiser_gb: float
    working_gb: float
    activations_gb: float
    logits_gb: float
    stage: int
    bytes_per_number: int

    @property
    def total_gb(self) -> float:
        """All of it."""
        return self.weights_gb + self.gradients_gb + self.optimiser_gb + self.working_gb + self.activations_gb + self.logits_gb


def memory(config: ModelConfig, layout: Layout, *, sequences: int, length: int, accumulation: int, low_precision: bool) -> Memory:
    """The fullest rank. `sequences` of `length` tokens are one rank's micro-batch; `accumulation` of them make a step.

    `low_precision`: activations and the working copy of the weights in bfloat16, else all in float32.
    """
    width = 2 if low_precision else 4
    stages = [_stage(config, layout, stage, sequences * length, accumulation, width) for stage in range(layout.pipeline)]
    return max(stages, key=lambda found: found.total_gb)


def _stage(config: ModelConfig, layout: Layout, stage: int, tokens: int, accumulation: int, width: int) -> Memory:
    cuts, places = layout.cuts(config.layers), layout.places(stage)
    last = len(cuts) - 1 in places
    layers = sum(len(cuts[place]) for place in places)
    attention = config.head_size * (2 * config.heads + 2 * config.kv_heads)
    block = config.hidden_size * (attention + 3 * config.intermediate_size)
    table = config.vocab_size * config.hidden_size
    tables = (stage == 0) + (last and not (config.tied and stage == 0))
    held = (layers * config.layer_parameters + tables * table + last * config.hidden_size) / layout.tensor
    shard = held / layout.shards
    # Sharded over data, a rank gathers one unit to compute with and fetches the next meanwhile; alone, it casts what it has.
    working = 2 * max(block, tables * table) / layout.tensor if layout.shards > 1 else held
    if layout.shards == 1 and width == 4:
        working = 0.0
    # Numbers kept per token and block: both norms' input and output, q, k, v, what attention gives, and four in the feed-forward. Of
    # selective recomputation what matrix products and attention give, and of full the block's input, and one block at a time whole.
    whole = 4 * config.hidden_size + attention + 4 * config.intermediate_size
    kept = {"none": whole, "selective": 3 * config.hidden_size + attention + 2 * config.intermediate_size,
            "full": config.hidden_size}[layout.recompute]
    again = 0 if layout.recompute == "none" else whole
    in_flight = min(layout.pipeline * layout.stages - stage, accumulation)
    # Logits as computed, in float32, and their gradient in float32.
    logits = tokens * config.vocab_size * (width + 8) / layout.tensor if last else 0.0
    return Memory(
        weights_gb=4 * shard / GB,
        gradients_gb=4 * shard / GB,
        optimiser_gb=8 * shard / GB,
        working_gb=width * working / GB,
        activations_gb=width * tokens * (kept * layers * in_flight + again) / layout.tensor / GB,
        logits_gb=logits / GB,
        stage=stage,
        bytes_per_number=width,
    )
