"""The optimiser and its rates: AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with warm-up and decay."""

from __future__ import annotations

import math
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


def rate(settings: Training, step: int, steps: int) -> float:
    """Learning rate of a step, counted from 0: linear to the peak over the warm-up, then by the schedule down to `decay_to` of it.

    "wsd" (Hu et al. 2024, arXiv 2404.06395) stays at the peak until the last `decay` of the steps and falls linearly in them. The schedule
    is laid over `horizon` times the steps; the warm-up is a share of the steps that are run.
    """
    warm = round(settings.warmup * steps)
    if step < warm:
        return settings.rate * (step + 1) / warm
    whole = settings.horizon * steps
    done = (step - warm) / max(1, whole - warm)
    fall = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0,
            "wsd": min(1.0, (whole - step) / max(1.0, settings.decay * whole))}[settings.schedule]
    return settings.rate * (settings.decay_to + (1 - settings.decay_to) * fall)
