"""The learning rate of every step, from a recipe's settings alone."""

from __future__ import annotations

import math

from .recipe import Training


def rate(settings: Training, step: int, steps: int) -> float:
    """Learning rate of a step, counted from 0: linear to the peak over the warm-up, then by the schedule down to `decay_to` of it.

    "wsd" (Hu et al. 2024, arXiv 2404.06395) stays at the peak until the last `decay` of the steps and falls linearly in them. The schedule
    is laid over `horizon` times the steps; the warm-up is a share of the steps that are run.
    """
    warm = warmup_steps(settings, steps)
    if step < warm:
        return settings.rate * (step + 1) / warm
    whole = settings.horizon * steps
    done = (step - warm) / max(1, whole - warm)
    fall = {"cosine": (1 + math.cos(math.pi * done)) / 2, "linear": 1 - done, "constant": 1.0,
            "wsd": min(1.0, (whole - step) / max(1.0, settings.decay * whole))}[settings.schedule]
    return settings.rate * (settings.decay_to + (1 - settings.decay_to) * fall)


def warmup_steps(settings: Training, steps: int) -> int:
    """How many of the steps warm up."""
    return round(settings.warmup * steps)
