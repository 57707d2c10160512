"""The optimiser and its rates: AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with warm-up and decay."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..recipe import Training


def adamw(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW over all weights that are not frozen. Matrices decay, embedding and head among them; norms, which are vectors, do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [{"params": [weight for weight in weights if weight.dim() >= 2], "weight_decay": settings.weight_decay},
              {"params": [weight for weight in weights if weight.dim() < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.rate, betas=settings.betas, eps=settings.epsilon, fused=True)


def rate(settings: Training, step: int, steps: int) -> float:
    """Learning rate of a step, counted from 0: linear to the peak over the warm-up, then down to `decay_to` of it."""
    warm = round(settings.warmup * steps)
    if step < warm:
        return settings.rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    fall = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0}[settings.schedule]
    return settings.rate * (settings.decay_to + (1 - settings.decay_to) * fall)
