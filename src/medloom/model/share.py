"""Which elements of a parameter this rank holds: all of a plain tensor, its share of a DTensor under any placements."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Slices = tuple[slice, ...]


def is_shared(parameter: Tensor) -> TypeGuard[DTensor]:
    """Whether it is a DTensor. Where nobody has imported them there are none, and their import takes most of a second."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(parameter, module.DTensor)


def local(parameter: Tensor) -> Tensor:
    """This rank's own elements, in the parameter's memory."""
    return parameter.to_local() if is_shared(parameter) else parameter


def whole(parameter: Tensor) -> Tensor:
    """All elements. For a DTensor a collective: every rank of its mesh calls it."""
    return parameter.full_tensor() if is_shared(parameter) else parameter


def runs(parameter: Tensor) -> Iterator[tuple[Slices, Slices]]:
    """Where this rank's elements lie in the whole tensor, and where in its own: pairs of slices, one a dimension, that cover its share.

    One pair, but where a dimension is cut in several places, as by FSDP's strided shard without the tensor-parallel one beside it.
    """
    held = [torch.arange(size) for size in parameter.shape]
    if is_shared(parameter):
        place = parameter.device_mesh.get_coordinate()
        if place is None:
            return
        # Left to right, as DTensor itself defines the order, by the placement's own rule for uneven splits.
        for axis, placement in enumerate(parameter.placements):
            if not placement.is_replicate():
                shard: Any = placement
                ways = parameter.device_mesh.size(axis)
                form = [1] * parameter.dim()
                form[shard.dim] = -1
                pieces, _ = shard._split_tensor(held[shard.dim].view(form), ways, with_padding=False, contiguous=False)
                held[shard.dim] = pieces[place[axis]].reshape(-1)
        assert local(parameter).shape == tuple(map(len, held)), "torch splits a tensor in another way than is known here"
    for blocks in product(*map(_consecutive, held)):
        yield tuple(there for there, _ in blocks), tuple(here for _, here in blocks)


def _consecutive(numbers: Tensor) -> list[tuple[slice, slice]]:
    """Stretches of consecutive numbers: which they are, and where they stand in the list."""
    if not len(numbers):
        return []
    cuts = [0, *((numbers.diff() != 1).nonzero().flatten() + 1).tolist(), len(numbers)]
    return [(slice(int(numbers[a]), int(numbers[b - 1]) + 1), slice(a, b)) for a, b in pairwise(cuts)]
