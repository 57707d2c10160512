"""A layout tried out before any accelerator is asked for: ranks of it are built one by one in this process, without memory or messages.

The network of each lies on torch's meta device, and the process group is torch's fake one, which answers every collective at once. What
comes out is exact for what a rank holds between steps, and says nothing of activations; `plan` estimates those.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from ..fit import ROWS, check_fit
from ..ledger import Refusal
from ..model import ModelConfig, local, weight_shapes
from ..recipe import Layout, Training
from .engine import Engine
from .mesh import Ranks, grid

STATES = 16  # bytes a parameter: weight, gradient and two averages, each float32


@dataclass(frozen=True)
class Rehearsal:
    """How many ranks a layout has, and by place in the pipeline the most and the fewest parameters that one of them holds."""

    ranks: int
    most: tuple[int, ...]
    fewest: tuple[int, ...]

    @property
    def states_gb(self) -> float:
        """Gigabytes (1e9 bytes) of weights, gradients and averages on the fullest rank."""
        return STATES * max(self.most) / 1e9

    def __str__(self) -> str:
        return f"{self.ranks} ranks were rehearsed: weights, gradients and averages take {self.states_gb:.2f} GB on the fullest"


def rehearse(config: ModelConfig, layout: Layout, settings: Training) -> Rehearsal:
    """Build the first and the last rank of each place in the pipeline and see that their parameters are those of the network.

    The ranks between hold no more than the first and no less than the last. Raises Refusal where the layout does not fit, and where this
    process trains already.
    """
    check_fit(config, settings, layout)
    config = config.padded(ROWS)
    if dist.is_initialized():
        raise Refusal("a layout cannot be rehearsed by a process that takes part in one; do it before the run")
    wanted = weight_shapes(config)
    found: dict[str, tuple[int, ...]] = {}
    each = layout.data * layout.tensor
    most, fewest = ([_build(config, layout, settings, place * each + rank, found) for place in range(layout.pipeline)]
                    for rank in (0, each - 1))
    if found != wanted:
        odd = min(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise Refusal(f"layout: {odd} has the shape {found.get(odd)} over all ranks, and the network asks for {wanted.get(odd)}; "
                      "this is a fault of medloom or of this build of torch")
    return Rehearsal(layout.processes, tuple(most), tuple(fewest))


def _build(config: ModelConfig, layout: Layout, settings: Training, rank: int, found: dict[str, tuple[int, ...]]) -> int:
    """How many parameters a rank holds; the whole shape of each goes to `found`."""
    dist.init_process_group("fake", rank=rank, world_size=layout.processes, store=FakeStore())
    try:
        engine = Engine.build(config, settings, Ranks(layout, torch.device("meta"), grid(layout, "cpu")), torch.bfloat16)
        found |= {name: tuple(parameter.shape) for name, parameter in engine.parameters()}
        return sum(local(parameter).numel() for _, parameter in engine.parameters())
    finally:
        dist.destroy_process_group()
