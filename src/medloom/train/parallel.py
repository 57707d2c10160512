"""Parallelism, applied to a plain network from outside, one function a dimension, always in this order:
tensor parallel, recomputation, compilation, sharding. Each wraps what the one before left.

Tensor and sequence parallel: Shoeybi et al. 2019 (arXiv 1909.08053), Korthikanti et al. 2022 (arXiv 2205.05198). Sharding: Zhao et al. 2023
(arXiv 2304.11277), by torch's `fully_shard`.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from ..model import Llama
from .learner import Learner
from .mesh import DATA, Ranks


def parallelise(learner: Learner, ranks: Ranks, precision: torch.dtype, compiled: bool) -> None:
    """Lay a learner, or a stage of one, out as `ranks.layout` says."""
    layout = ranks.layout
    if layout.tensor > 1:
        split_tensors(learner, ranks.axis("tensor"))
    if layout.recompute != "none":
        recompute(learner.network, layout.recompute == "full")
    if compiled:
        compile_blocks(learner)
    if ranks.mesh is not None:
        shard(learner, ranks, precision)


def split_tensors(learner: Learner, mesh: DeviceMesh) -> None:
    """Tensor parallel: heads, features and vocabulary are split over the ranks; between blocks each has a part of the sequence."""
    network = learner.network
    whole, part = Replicate(), Shard(1)
    block: dict[str, Any] = {
        "input_layernorm": SequenceParallel(),
        "self_attn": PrepareModuleInput(input_layouts=(part, None, None, None, None, None),
                                        desired_input_layouts=(whole, None, None, None, None, None)),
        "self_attn.q_proj": ColwiseParallel(), "self_attn.k_proj": ColwiseParallel(), "self_attn.v_proj": ColwiseParallel(),
        "self_attn.o_proj": RowwiseParallel(output_layouts=part),
        "post_attention_layernorm": SequenceParallel(),
        "mlp": PrepareModuleInput(input_layouts=(part,), desired_input_layouts=(whole,)),
        "mlp.gate_proj": ColwiseParallel(), "mlp.up_proj": ColwiseParallel(), "mlp.down_proj": RowwiseParallel(output_layouts=part),
    }
    plan = {f"model.layers.{name}.{inner}": style for name in network.model.layers for inner, style in block.items()}
    if network.model.embed_tokens is not None:
        plan["model.embed_tokens"] = RowwiseParallel(input_layouts=whole, output_layouts=part)
    if network.model.norm is not None:
        plan["model.norm"] = SequenceParallel()
    if network.lm_head is not None:
        plan["lm_head"] = ColwiseParallel()  # only its weight is used, see Learner.loss
    parallelize_module(network, mesh, plan)
    learner.tensor_mesh = mesh


# The costly results, which selective recomputation keeps; norms, rotations and gates are cheap to compute again.
_COSTLY = ("mm", "addmm", "bmm", "_scaled_dot_product", "flex_attention", "varlen", "medloom::")


def _policy(context: Any, operation: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    name = str(getattr(operation, "_schema", operation)).partition("(")[0]
    costly = any(part in name for part in _COSTLY)
    return CheckpointPolicy.MUST_SAVE if costly else CheckpointPolicy.PREFER_RECOMPUTE


def recompute(network: Llama, whole: bool) -> None:
    """Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): of each block only the input is kept, or also its costly results."""
    more: dict[str, Any] = {} if whole else {"context_fn": functools.partial(create_selective_checkpoint_contexts, _policy)}
    for block in network.model.layers.values():
        # In place of the method, not around the module: parameter names stay Hugging Face's.
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, **more)


def compile_blocks(learner: Learner) -> None:
    """torch.compile, block by block: all are alike, so that one compilation serves them."""
    network = learner.network
    if learner.tensor_mesh is not None and network.model.embed_tokens is not None:
        # What tensor parallelism makes of the embedding is a tensor whose collective may still be under way; entering a compiled block
        # it loses its gradient (pytorch #184980).
        network.model.embed_tokens.register_forward_hook(_plain)
    for block in network.model.layers.values():
        block.compile()


def _plain(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return output + 0


def shard(learner: Learner, ranks: Ranks, precision: torch.dtype) -> None:
    """Fully sharded, hybrid or replicated data parallel: weights, gradients and averages in float32 shares, gathered block by block in
    the precision of the matrix products; gradients are averaged over the data-parallel ranks in float32."""
    axes = DATA[1:] if ranks.layout.sharding == "full" else DATA
    exact = precision == torch.float32
    policy = MixedPrecisionPolicy() if exact else MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    # Within a pipeline a block runs many times a step: its weights are gathered once for all of them.
    options: dict[str, Any] = {"mesh": ranks.axis(*axes), "mp_policy": policy, "reshard_after_forward": ranks.layout.pipeline == 1}
    for block in learner.network.model.layers.values():
        fully_shard(block, **options)
    fully_shard(learner, **options)
