"""Pipeline parallel: which layers each stage has, and the schedule that drives the stages of a rank.

1F1B: Narayanan et al. 2019 (PipeDream); with several stages a rank, interleaved: Narayanan et al. 2021 (arXiv 2104.04473).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..model import ModelConfig, Part
from ..recipe import Layout
from .learner import Learner
from .mesh import Ranks


def parts(config: ModelConfig, layout: Layout) -> list[Part]:
    """The stages of a network, first to last."""
    cuts = layout.cuts(config.layers)
    return [Part(cut.start, cut.stop, embeds=cut is cuts[0], scores=cut is cuts[-1]) for cut in cuts]


def schedule(learners: Sequence[Learner], ranks: Ranks, rows: int, length: int, micro_batches: int, precision: torch.dtype,
             loss: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """The schedule of this rank's stages, for micro-batches of `rows` x `length` tokens; `loss` of what the last stage gives."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B  # seconds to import, so only here

    layout, group = ranks.layout, ranks.axis("pipeline").get_group()
    config = learners[0].network.config
    tokens = torch.empty(rows, length, dtype=torch.int64, device="meta")
    hidden = torch.empty(rows, length // layout.tensor, config.hidden_size, dtype=precision, device="meta")
    stages: list[Any] = [PipelineStage(learner, place, layout.pipeline * layout.stages, ranks.device, group=group,
                            input_args=tokens if learner.network.part.embeds else hidden.clone().requires_grad_(),
                            output_args=(torch.empty(1, device="meta") if learner.network.part.scores else hidden.clone()).requires_grad_())
              for learner, place in zip(learners, layout.places(ranks.along("pipeline")), strict=True)]
    if layout.stages == 1:
        return Schedule1F1B(stages[0], micro_batches, loss_fn=loss, scale_grads=False)
    return ScheduleInterleaved1F1B(stages, micro_batches, loss_fn=loss, scale_grads=False)
