"""Attention over keys that lie in several places: each part is computed where its keys are, and parts are weighed by their softmax sums.

softmax over the union of key sets is the mean of the sets' own, weighted by the exponentials of their log-sums (the step of Milakov &
Gimelshein 2018, arXiv 1805.02867, that flash attention rests on). So a beginning that a thousand questions share is one matrix for all
their queries, never copied or joined to what is theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

SCORES = 1 << 26  # scores held at once where they are computed whole


@dataclass(frozen=True)
class Mixed:
    """Values mixed by attention, [..., heads, queries, head_size], and the logarithm of each softmax's sum, [..., heads, queries]."""

    out: Tensor
    sums: Tensor


def mix(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Mixed:
    """Attention of queries [batch, heads, queries, head_size] over keys [batch, kv_heads, keys, head_size].

    mask: [batch or 1, 1, queries or 1, keys], true where a query may look; a query that may look nowhere gets sums of minus infinity.
    """
    if mask is None and q.device.type == "cpu":
        kernel = cast(Callable[..., tuple[Tensor, Tensor]], torch.ops.aten._scaled_dot_product_flash_attention_for_cpu)
        return Mixed(*kernel(q, k, v, 0.0, False))
    step = max(1, SCORES // max(1, q.shape[0] * q.shape[1] * k.shape[2]))
    parts = [_whole(q[:, :, start:start + step], k, v, mask if mask is None or mask.shape[2] == 1 else mask[:, :, start:start + step])
             for start in range(0, q.shape[2], step)]
    return parts[0] if len(parts) == 1 else Mixed(torch.cat([part.out for part in parts], 2), torch.cat([part.sums for part in parts], 2))


def _whole(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Mixed:
    batch, heads, queries, size = q.shape
    kv_heads = k.shape[1]
    # The heads that share keys stand as further queries of those.
    scores = (q.reshape(batch, kv_heads, -1, size) @ k.transpose(-1, -2)).mul_(size**-0.5).view(batch, kv_heads, -1, queries, k.shape[2])
    if mask is not None:
        scores = scores.masked_fill(~mask[:, :, None], -torch.inf)
    sums = scores.float().logsumexp(-1, keepdim=True)
    weights = (scores - sums.clamp(min=torch.finfo(sums.dtype).min)).exp().to(v.dtype)
    out = weights.view(batch, kv_heads, -1, k.shape[2]) @ v
    return Mixed(out.view(batch, heads, queries, size), sums.view(batch, heads, queries))


def joined(parts: Sequence[Mixed]) -> Tensor:
    """The parts' mean, each weighted by its softmax's sum: [..., heads, queries, head_size]."""
    if len(parts) == 1:
        return parts[0].out
    highest = torch.stack([part.sums for part in parts]).amax(0)
    weights = [(part.sums - highest).exp() for part in parts]
    whole = sum(weights[1:], weights[0])
    first, *others = (part.out * (weight / whole)[..., None].to(part.out.dtype) for part, weight in zip(parts, weights, strict=True))
    for other in others:
        first += other
    return first
