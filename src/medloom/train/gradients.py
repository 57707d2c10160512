"""Gradients over all ranks: their norm, and clipping by it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..model import whole
from .mesh import Ranks


def gradient_norm(parameters: Iterable[nn.Parameter], ranks: Ranks) -> Tensor:
    """Euclidean norm of the gradient of the whole network, float32, the same on every rank."""
    squares = torch.zeros((), device=ranks.device)
    for gradients in _by_mesh(parameters):
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        squares += whole(norm).square()
    return ranks.total(squares, "pipeline").sqrt()


def scale_gradients(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Multiply all gradients, in place."""
    for gradients in _by_mesh(parameters):
        torch._foreach_mul_(gradients, factor)


def _by_mesh(parameters: Iterable[nn.Parameter]) -> Sequence[list[Tensor]]:
    """The gradients in groups that torch computes on together: those on one mesh."""
    groups: dict[object, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            gradient = parameter.grad
            groups.setdefault(gradient.device_mesh if isinstance(gradient, DTensor) else None, []).append(gradient)
    return list(groups.values())
