"""Bytes that the tensors of one rank take at the worst moment of a training step.

States are exact. Of activations this counts what the operations keep for the gradient, as torch's hooks for saved tensors show them on
blocks of this network (tests/plan/test_memory.py holds the counts against torch). The worst moment is one of these: the loss of the last
micro-batch, when every activation is there; the gradient of the head after it; the first block's gradient, or the embedding's, when all
others are there. The copy that a checkpoint is written from lies in the host's memory and is no part of this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..fit import ROWS
from ..model.config import ModelConfig
from ..recipe import Layout, Lora
from .network import adapter_parameters

GB = 1e9


@dataclass(frozen=True)
class Way:
    """How a rank computes, as far as it decides what is kept.

    numbers: bytes of a number in matrix products (2: bfloat16, 4: float32). compiled: blocks go through torch.compile. accelerated: on
    CUDA, whose fused norms keep less than the CPU's. cast: bfloat16 by autocast beside float32, as one CPU process does it.
    """

    numbers: Literal[2, 4]
    compiled: bool
    accelerated: bool
    cast: bool


@dataclass(frozen=True)
class Memory:
    """Gigabytes (1e9 bytes) on the fullest rank, by what they hold, and the place of that rank in the pipeline, from 0.

    `gradients_gb` are those that are there at the worst moment, which is at `moment`: with one micro-batch a step there are none yet when
    the loss is computed. `working_gb`: weights gathered or cast to compute with, and gradients on their way.
    """

    weights_gb: float
    gradients_gb: float
    optimiser_gb: float
    working_gb: float
    activations_gb: float
    logits_gb: float
    stage: int
    moment: str
    bytes_per_number: int

    @property
    def total_gb(self) -> float:
        """All of it."""
        return self.weights_gb + self.gradients_gb + self.optimiser_gb + self.working_gb + self.activations_gb + self.logits_gb


@dataclass(frozen=True)
class Kept:
    """Bytes that one block keeps for each token: plain, under the layout's recomputation, and the most that its gradient takes besides."""

    whole: float
    held: float
    gradient: float


def kept(config: ModelConfig, way: Way, layout: Layout, lora: Lora | None = None) -> Kept:
    """What a block keeps for a token on one rank.

    Numbers of the residual stream h, of queries q, keys and values kv, of the feed-forward f. Eager: both norms' inputs and outputs
    (4 h; on a CPU also their normalised inputs, 6 h, unless their weights are frozen), q, kv twice, what attention gives and the
    projection reads (2 q), and f four times: gate, up, the gate's SiLU, and the product. Compiled, the second norm's input is kept as what
    the attention adds to it, and the SiLU is computed again. Tensor parallelism splits all but the norms' outputs, which each rank
    gathers whole. The logarithm of each head's softmax sum and each norm's scale are float32.
    """
    h, f, heads, ways = config.hidden_size, config.intermediate_size, config.heads, layout.tensor
    q, kv = heads * config.head_size, config.kv_heads * config.head_size
    n = way.numbers
    stream = 4 if way.cast or not way.accelerated else n  # bytes of what norms read: on a CPU they compute in float32
    normalised = 0 if way.compiled or way.accelerated or lora is not None else 2 * h
    norms = (2 * h * n if way.compiled else stream * (2 * h + normalised)) / ways
    inner = n * (2 * q + 2 * kv + (3 if way.compiled else 4) * f) / ways
    low_rank = n * lora.rank * len(lora.targets) if lora is not None else 0
    small = 4 * (heads + 2) / ways + (2 * n * config.head_size if way.cast else 0)
    whole = norms + 2 * h * n + inner + low_rank + small
    entry = h * (stream if not way.compiled else n) / ways
    results = n * (2 * q + 2 * kv + 2 * f + 2 * h) / ways + low_rank + 4 * heads / ways
    held = {"none": whole, "selective": entry + results, "full": entry}[layout.recompute]
    again = 0.0 if layout.recompute == "none" else whole
    return Kept(whole, held, again + n * (3 * f + 2 * h) / ways)


def memory(config: ModelConfig, layout: Layout, way: Way, *, rows: int, length: int, accumulation: int, lora: Lora | None = None) -> Memory:
    """The fullest rank. `rows` of `length` tokens are one rank's micro-batch; `accumulation` of them make a step.

    Attention keeps no matrix of scores. The vocabulary is padded as the trainer does it, which then masks what is beyond it.
    """
    full = config.padded(ROWS)
    padded = full.vocab_size > config.vocab_size
    stages = [_stage(full, layout, way, stage, rows * length, accumulation, lora, padded) for stage in range(layout.pipeline)]
    return max(stages, key=lambda found: found.total_gb)


def _stage(config: ModelConfig, layout: Layout, way: Way, stage: int, tokens: int, accumulation: int, lora: Lora | None,
           padded: bool) -> Memory:
    cuts, places = layout.cuts(config.layers), layout.places(stage)
    first, last = stage == 0, len(cuts) - 1 in places
    layers = sum(len(cuts[place]) for place in places)
    table = config.vocab_size * config.hidden_size / layout.tensor
    tables = (first + (last and not (config.tied and first))) * table
    block = config.layer_parameters / layout.tensor
    adapters = adapter_parameters(config, lora) * layers / config.layers
    weights = layers * block + tables + last * config.hidden_size + adapters
    learned = adapters if lora is not None else weights
    shards = layout.shards

    each = kept(config, way, layout, lora)
    in_flight = min(layout.pipeline * layout.stages - stage, accumulation)
    # The norm at the end is not recomputed: its input, on a CPU its normalised input, and its output.
    end = last * tokens * config.hidden_size * 4 * (2 if way.accelerated or lora is not None else 3) / layout.tensor
    activations = tokens * each.held * layers * in_flight + end
    scores = last * tokens * config.vocab_size / layout.tensor

    sharded = shards > 1
    if sharded or way.accelerated:
        # The tables stay gathered through the step, and so do all weights of a pipeline's rank; else one block and the one fetched ahead.
        # With micro-batches in a pipeline the whole gradient waits in float32 for the last of them.
        gathered = weights if layout.pipeline > 1 else tables + 2 * block
        working = way.numbers * gathered * (sharded or way.numbers < 4)
        working += 4 * weights if layout.pipeline > 1 and lora is None else (way.numbers + 4) * max(block, table) * (lora is None)
    else:
        working = 2 * weights if way.cast else 0.0
    # Gradients of the micro-batches before lie there already; else they appear as activations go.
    before = 4 * learned / shards if accumulation > 1 else 0.0
    head = 4 * table * last * (lora is None)
    states = (4 * weights + 8 * learned) / shards
    all_gradients, one = 4 * learned / shards, tokens * (each.held + each.gradient)
    moments = {
        "the loss": (before, activations, (12 if padded else 8) * scores, 0.0),
        "the head's gradient": (before, activations, 4 * scores, head),
        "the first block's gradient": (all_gradients, one, 0.0, 0.0),
        "the embedding's gradient": (all_gradients, 0.0, 0.0, head if config.tied else 0.0),
    }
    moment, (gradients, active, logits, more) = max(moments.items(), key=lambda item: sum(item[1]))
    return Memory(weights_gb=4 * weights / shards / GB, gradients_gb=gradients / GB, optimiser_gb=(states - 4 * weights / shards) / GB,
                  working_gb=(working + more) / GB, activations_gb=active / GB, logits_gb=logits / GB, stage=stage, moment=moment,
                  bytes_per_number=way.numbers)
