"""The optimiser: AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ..recipe import Training


def adamw(parameters: Iterable[nn.Parameter], settings: Training) -> torch.optim.AdamW:
    """AdamW over the parameters that learn. Matrices decay, embedding and head among them; norms and biases, which are vectors, do not."""
    weights = [weight for weight in parameters if weight.requires_grad]
    groups = [{"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": settings.weight_decay},
              {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.rate, betas=settings.betas,
                             eps=settings.epsilon, fused=True)
