"""A network that answers with its loss: what stands between the plain network and every way to train it.

Losses are sums over counted tokens. Whoever adds them up over micro-batches and ranks divides by the number of counted tokens of the
whole batch, so that no split of it changes the loss (a mean per micro-batch gives short ones too much weight).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Replicate
from torch.nn import functional as F

from ..model import Llama


class Learner(nn.Module):
    """A network, or one stage of it. `vocabulary` is the number of tokens there are, where the network has been padded beyond it."""

    def __init__(self, network: Llama, z_loss: float = 0.0, vocabulary: int | None = None) -> None:
        super().__init__()
        self.network, self.z_loss = network, z_loss
        self.vocabulary = vocabulary or network.config.vocab_size
        self.tensor_mesh: DeviceMesh | None = None  # set by tensor parallelism, under which a rank has a part of each sequence

    def forward(self, x: Tensor, *, positions: Tensor, targets: Tensor, counted: Tensor, segments: Tensor | None = None) -> Tensor:
        """The loss summed over the counted positions, in nats, [1]; of a stage that is not the last its hidden states.

        x: [rows, length] tokens, or the hidden states of the stage before; the others [rows, length].
        """
        hidden: Tensor = self.network(x, positions=positions, segments=segments)
        if not self.network.part.scores:
            return hidden
        return torch.stack((self.loss(hidden, targets, counted),))  # not a view, which sharding's hooks could lose

    def loss(self, hidden: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
        """Summed cross-entropy of hidden states [rows, length, hidden_size], and in training `z_loss` times the squared log-normaliser
        (Chowdhery et al. 2022, arXiv 2204.02311, section 5)."""
        mesh = self.tensor_mesh
        if mesh is None:
            if int(counted.sum()) * 2 < counted.numel():
                # Where few tokens of long prompts are learned the head is most of the work, and the others need not reach it.
                hidden, targets, counted = hidden[counted], targets[counted], counted[counted]
            scores, begin, group = self.network.logits(hidden).float(), 0, None
        else:
            assert isinstance(hidden, DTensor)  # a part of the sequence, as the sequence-parallel norm gives it
            weight = self.network.head()
            assert isinstance(weight, DTensor)
            whole = hidden.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
            scores = F.linear(whole, weight.to_local()).float()
            begin, group = mesh.get_local_rank() * scores.shape[-1], mesh.get_group()
        loss, normaliser = cross_entropy(self._known(scores, begin), targets, begin, group)
        if self.training and self.z_loss:
            loss = loss + self.z_loss * normaliser.square()
        return (loss * counted).sum()

    def _known(self, scores: Tensor, begin: int) -> Tensor:
        """Scores of tokens from `begin` on, those of padding out of the running."""
        known = self.vocabulary - begin
        if known >= scores.shape[-1]:
            return scores
        beyond = torch.arange(scores.shape[-1], device=scores.device) >= known
        return scores.masked_fill(beyond, -torch.inf)


def cross_entropy(scores: Tensor, targets: Tensor, begin: int = 0, group: Any = None) -> tuple[Tensor, Tensor]:
    """Cross-entropy where each rank of `group` has the scores of some tokens, from `begin` on (Shoeybi et al. 2019, arXiv 1909.08053);
    without a group, where this process has all.

    scores: [..., tokens of this rank], float32; targets: [...]. Returns loss and log-normaliser of each position, [...], on every rank.
    What it keeps for the gradient is one number a score, and the gradient takes its place: torch's own keeps one and makes two.
    """
    loss, normaliser = _CrossEntropy.apply(scores, targets, begin, group)  # type: ignore[no-untyped-call]
    return loss, normaliser


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor, begin: int, group: Any) -> tuple[Tensor, Tensor]:
        highest = scores.amax(-1)
        if group is not None:
            dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=group)
        shares = (scores - highest[..., None]).exp_()
        mine = (targets >= begin) & (targets < begin + scores.shape[-1])
        place = (targets - begin).masked_fill(~mine, 0)
        sums = torch.stack((shares.sum(-1), scores.gather(-1, place[..., None])[..., 0].masked_fill(~mine, 0.0)))
        if group is not None:
            dist.all_reduce(sums, group=group)
        normaliser = sums[0].log() + highest
        ctx.save_for_backward(shares, sums[0], place, mine)
        return normaliser - sums[1], normaliser

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        shares, total, place, mine = ctx.saved_tensors
        of_loss, of_normaliser = gradients
        gradient = shares.mul_(((of_loss + of_normaliser) / total)[..., None])
        gradient.scatter_add_(-1, place[..., None], -(of_loss * mine)[..., None])
        return gradient, None, None, None
