"""Matrix products in float8 (Micikevicius et al. 2022, arXiv 2209.05433), by torchao: weights, gradients and averages stay float32."""

from __future__ import annotations

import torch
from torch import nn

from ..ledger import Refusal
from ..model import Llama
from ..recipe import Layout

HARDWARE = (8, 9)  # CUDA's compute capability from which there are float8 tensor cores: Ada, Hopper and later
MULTIPLE = 16  # which those take the sides of a matrix in


def check_float8(device: torch.device, layout: Layout) -> None:
    """Refuse float8 where the hardware, the layout or torchao's absence forbids it."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < HARDWARE:
        raise Refusal('precision = "float8" needs an accelerator with float8 tensor cores (Ada, Hopper or later); set precision = "bf16"')
    if layout.tensor > 1:
        raise Refusal('precision = "float8" and layout.tensor > 1 do not go together; use layout.data, which shards too')


def to_float8(network: Llama, *, emulated: bool = False) -> None:
    """Have the layers' projections multiply in float8, scaled per tensor as they go, in place; the head stays as it is.

    Parameters keep their names. emulated: by the same rounding in float32, on any device. Raises Refusal where torchao is not installed.
    """
    try:
        from torchao.float8 import Float8LinearConfig, convert_to_float8_training
    except ImportError:
        raise Refusal("precision = 'float8' needs torchao: pip install 'medloom[float8]'") from None

    def fits(module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Linear) and not (module.in_features % MULTIPLE or module.out_features % MULTIPLE)

    for block in network.model.layers.values():
        convert_to_float8_training(block, config=Float8LinearConfig(emulate=emulated), module_filter_fn=fits)
