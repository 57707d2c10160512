"""A network in its layout: built, filled, and run forward and backward, the same for whoever drives it on one process or on many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..model import Llama, ModelConfig
from ..recipe import Training
from .data import Rows
from .device import computing
from .float8 import to_float8
from .learner import Learner
from .loader import Loaded, load
from .mesh import DATA, Ranks
from .parallel import parallelise
from .pipeline import parts, schedule

Adapt = Callable[[Llama], None]


@dataclass
class Engine:
    """The stages of a network that this rank has, ready to learn. Most layouts have one, which is the whole."""

    config: ModelConfig
    learners: list[Learner]
    ranks: Ranks
    settings: Training
    precision: torch.dtype
    _schedule: Any = field(default=None, repr=False)
    _scale: float = 1.0

    @classmethod
    def build(cls, config: ModelConfig, settings: Training, ranks: Ranks, precision: torch.dtype, *, vocabulary: int | None = None,
              adapt: Adapt | None = None) -> Engine:
        """The network in its layout, on the meta device still. `adapt` changes the plain network first (LoRA)."""
        layout = ranks.layout
        stages = parts(config, layout)
        compiled = layout.compile is True or (layout.compile == "auto" and ranks.device.type == "cuda")
        learners = []
        for place in layout.places(ranks.along("pipeline")):
            with torch.device("meta"):
                network = Llama(config, stages[place])
                if adapt is not None:
                    adapt(network)
                if settings.precision == "float8":
                    to_float8(network)
            learner = Learner(network, settings.z_loss, vocabulary).train()
            parallelise(learner, ranks, precision, compiled)
            learners.append(learner)
        return cls(config, learners, ranks, settings, precision)

    def materialise(self) -> None:
        """Give the weights memory on this rank's device; what is in it is undefined."""
        for learner in self.learners:
            learner.to_empty(device=self.ranks.device)

    @property
    def networks(self) -> list[Llama]:
        """The parts of the plain network that this rank has."""
        return [learner.network for learner in self.learners]

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """This rank's parameters, by their Hugging Face names."""
        for learner in self.learners:
            yield from learner.network.named_parameters()

    def forward_backward(self, batch: Loaded, scale: float) -> Tensor:
        """Add the gradients of this rank's rows to those there are, and give their summed loss (0 where another stage has it).

        `scale` multiplies the summed loss: 1 / counted tokens of the whole batch.
        """
        # Sharding averages gradients over the data-parallel ranks; what is wanted is their sum.
        self._scale = scale * (self.ranks.layout.data if self.ranks.mesh is not None else 1)
        if self.ranks.layout.pipeline > 1:
            return self._through_pipeline(batch, backward=True)
        total = torch.zeros((), device=self.ranks.device)
        for rows in self._micro_batches(batch):
            if not rows["counted"].any() and self.ranks.mesh is None:
                continue  # padding only: no loss, no gradient. On several ranks all take part, for their collectives wait for each other.
            with self._computing():
                loss = self.learners[0](rows.pop("inputs"), **rows).sum()
            (loss * self._scale).backward()
            total += loss.detach()
        return total

    @property
    def vocabulary(self) -> int:
        """How many tokens there are; what pads the tables beyond them is none."""
        return self.learners[0].vocabulary

    def batch(self, rows: Rows, step: int) -> Loaded:
        """This rank's share of one step's rows."""
        return load(rows, step, size=self.settings.batch, vocab_size=self.vocabulary, rank=self.ranks.data, ranks=self.ranks.layout.data,
                    device=self.ranks.device)

    @torch.no_grad()
    def measure(self, batch: Loaded) -> tuple[float, int]:
        """The loss of a batch without learning from it: summed over its counted positions on all ranks, in nats, and their number."""
        for learner in self.learners:
            learner.eval()
        if self.ranks.layout.pipeline > 1:
            total = self._through_pipeline(batch, backward=False)
        else:
            total = torch.zeros((), device=self.ranks.device)
            for rows in self._micro_batches(batch):
                with self._computing():
                    total += self.learners[0](rows.pop("inputs"), **rows).sum()
        for learner in self.learners:
            learner.train()
        counted = self.ranks.total(torch.tensor(int(batch.counted.sum()), device=self.ranks.device), *DATA)
        return float(self.ranks.total(total.double(), *DATA, "pipeline")), int(counted)

    def _computing(self) -> Any:
        return computing(self.precision, self.ranks.device) if self.ranks.mesh is None else nullcontext()

    def _micro_batches(self, batch: Loaded) -> Iterator[dict[str, Tensor]]:
        size = self.settings.micro_batch // self.ranks.layout.data
        for first in range(0, len(batch.inputs), size):
            yield batch.on(self.ranks.device, slice(first, first + size))

    def _through_pipeline(self, batch: Loaded, backward: bool) -> Tensor:
        layout, settings = self.ranks.layout, self.settings
        if self._schedule is None:
            self._schedule = schedule(self.learners, self.ranks, settings.micro_batch // layout.data, settings.length,
                                      settings.batch // settings.micro_batch, self.precision, lambda loss, _: loss.sum() * self._scale)
        named = batch.on(self.ranks.device)
        tokens = named.pop("inputs")
        losses: list[Tensor] = []
        given = (tokens,) if any(learner.network.part.embeds for learner in self.learners) else ()
        last = any(learner.network.part.scores for learner in self.learners)
        run = self._schedule.step if backward else self._schedule.eval
        run(*given, target=tokens if last else None, losses=losses if last else None, **named)
        return torch.stack(losses).sum().detach() / self._scale if last else torch.zeros((), device=self.ranks.device)

