"""Attention within documents: what each position of a packed row may look at, and the kernel that computes no more than that.

All rules here have one form: a position sees every key from a first one up to itself. For packed documents that is its document's
beginning, with a sliding window (Jiang et al. 2023, arXiv 2310.06825) the later of that and `window` - 1 back. So one row of
first positions stands for a mask of length squared, and as it has the shape of the tokens, a compiled layer takes every packing.

On a CPU each document is a call of torch's flash kernel; on CUDA the same rule is FlexAttention's block mask, chosen over
`varlen_attn` because that has no float32, and its backward pass adds in another order each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, flex_attention

BLOCK = 128  # positions on a side of FlexAttention's blocks
SHORT = 128  # positions of a row below which the dense mask is the faster on a CPU
FLEX_HEAD = 16  # features of a head below which FlexAttention has no kernel


@dataclass(frozen=True)
class Sight:
    """What the positions of one forward pass may look at; made once, read by every layer.

    first: [batch, length], the first key that each position sees, or None where `mask` and `causal` say it all. It never falls
    along a row. blocks: the same for CUDA. mask: [batch or 1, 1, length, keys] bool, true where a position may look.
    """

    first: Tensor | None = None
    blocks: BlockMask | None = None
    mask: Tensor | None = None
    causal: bool = True

    @classmethod
    def of(cls, batch: int, length: int, device: torch.device, *, segments: Tensor | None = None, mask: Tensor | None = None,
           past: int = 0, window: int | None = None) -> Sight:
        """The sight of `length` new positions behind `past` cached ones.

        segments: [batch, length] document numbers; a document is a run of one number, padding's too, and cached positions belong to none.
        mask: replaces every other rule. window: a position sees itself and `window` - 1 before it.
        """
        if mask is not None:
            return cls(mask=mask, causal=False)
        keys = past + length
        reach = keys if window is None else min(window, keys)
        if past:
            if segments is not None:
                raise ValueError("segments and a filled cache do not go together: which document holds the cached positions?")
            if length == 1 and reach == keys:
                return cls(causal=False)
            key, at = torch.arange(keys, device=device), torch.arange(past, keys, device=device)[:, None]
            return cls(mask=((key <= at) & (key > at - reach))[None, None], causal=False)
        if segments is None and reach == keys:
            return cls()
        at = torch.arange(length, device=device).expand(batch, length)
        first = torch.zeros_like(at)
        if segments is not None:
            begins = torch.ones_like(segments, dtype=torch.bool)
            begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
            first = torch.where(begins, at, 0).cummax(1).values
        first = torch.maximum(first, at - reach + 1)
        sight = cls(first, _blocks(first) if device.type == "cuda" else None, causal=False)
        return cls(mask=sight.dense(), causal=False) if device.type == "cpu" and length < SHORT else sight

    def dense(self) -> Tensor:
        """`first` as a mask: [batch, 1, length, length] bool."""
        assert self.first is not None
        at = torch.arange(self.first.shape[1], device=self.first.device)
        return ((at >= self.first[..., None]) & (at <= at[:, None]))[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight) -> Tensor:
    """softmax(q k^T / sqrt(head_size)) v over the keys in sight: [batch, heads, length, head_size], as q.

    k, v: [batch, kv_heads, keys, head_size]; each of their heads serves heads / kv_heads of q (Ainslie et al. 2023, arXiv 2305.13245).
    """
    grouped = q.shape[1] != k.shape[1]
    if sight.first is not None and q.device.type == "cpu":
        out: Tensor = torch.ops.medloom.document_attention(q, k, v, sight.first)[0]
        return out
    if sight.blocks is not None and q.shape[-1] >= FLEX_HEAD:
        # In a compiled layer the kernel is compiled with it; alone it must be, or it would build the whole matrix of scores.
        flex = flex_attention if torch.compiler.is_compiling() else _compiled_flex()
        out = flex(q, k, v, block_mask=sight.blocks, enable_gqa=grouped)
        return out
    if grouped and not _shares_heads(q, sight):
        groups = q.shape[1] // k.shape[1]
        k, v, grouped = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1), False
    mask = sight.dense() if sight.first is not None else sight.mask
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=sight.causal, enable_gqa=grouped)


def _shares_heads(q: Tensor, sight: Sight) -> bool:
    """Whether torch's kernel for this case takes fewer key heads as they are. On CUDA only flash does: no mask, no float32."""
    return q.device.type == "cpu" or (q.device.type == "cuda" and sight.mask is None and sight.first is None and q.dtype != torch.float32)


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention)


def _blocks(first: Tensor) -> BlockMask:
    """FlexAttention's mask, from the ends of each block: as `first` never falls, they bound it for the positions between."""
    length = first.shape[1]
    count = -(-length // BLOCK)
    block = torch.arange(count, device=first.device)
    lowest = first[:, block * BLOCK, None]
    highest = first[:, (block * BLOCK + BLOCK - 1).clamp(max=length - 1), None]
    behind = block[:, None]
    some = (block <= behind) & (block * BLOCK + BLOCK - 1 >= lowest)
    whole = (block < behind) & (block * BLOCK >= highest) & (behind * BLOCK + BLOCK <= length)

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key >= first[row, query]) & (key <= query)

    return BlockMask.from_kv_blocks(*_listed(some & ~whole), *_listed(whole), BLOCK_SIZE=BLOCK, mask_mod=seen, seq_lengths=(length, length))


def _listed(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """How many key blocks each query block has, and their numbers first in the row: [batch, 1, blocks] and [batch, 1, blocks, blocks]."""
    numbers = chosen.int().argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32)[:, None], numbers.to(torch.int32)[:, None]


# The CPU's kernel is an operator of its own, so that a compiled layer holds it whole and never looks at where documents end.
# Compiled code on disk knows it by name: a change of what it gives, shapes and strides too, needs another name.

@torch.library.custom_op("medloom::document_attention", mutates_args=(),
                         schema="(Tensor q, Tensor k, Tensor v, Tensor first) -> (Tensor, Tensor)")
def _document_attention(q: Tensor, k: Tensor, v: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    found = [_forward(*document) for document in _documents(first, q, k, v)]
    return _joined([out for out, _ in found], len(q)), _joined([sums for _, sums in found], len(q))


@_document_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.float64 if q.dtype == torch.float64 else torch.float32
    return _like(q), _like(q[..., 0].to(kind))


@torch.library.custom_op("medloom::document_attention_backward", mutates_args=(),
                         schema="(Tensor grad, Tensor q, Tensor k, Tensor v, Tensor first, Tensor out, Tensor sums)"
                                " -> (Tensor, Tensor, Tensor)")
def _document_attention_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, first: Tensor, out: Tensor,
                            sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = [_backward(*document) for document in _documents(first, grad, q, k, v, out, sums)]
    of_q, of_k, of_v = ([parts[which] for parts in found] for which in range(3))
    return _joined(of_q, len(q)), _joined(of_k, len(q)), _joined(of_v, len(q))


@_document_attention_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, first: Tensor, out: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _like(q), _like(k), _like(v)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return *torch.ops.medloom.document_attention_backward(grad, *ctx.saved_tensors), None


_document_attention.register_autograd(_differentiate, setup_context=_keep)


def _documents(first: Tensor, *tensors: Tensor) -> Iterator[tuple[Any, ...]]:
    """Row by row and document by document: how far back its last position sees, then the tensors' parts, each [1, heads, size, ...]."""
    begins = first == torch.arange(first.shape[1])
    starts = begins.flatten().nonzero()[:, 0]
    ends = torch.cat((starts[1:], torch.tensor([first.numel()])))
    lasts = (ends - 1) % first.shape[1]
    reach = iter((lasts + 1 - first.flatten()[ends - 1]).tolist())
    sizes = [part.tolist() for part in torch.split(ends - starts, begins.sum(1).tolist())]
    # The kernel takes for granted that the features of a head lie side by side.
    rows = (torch.split(x if x.dim() < 4 or x.stride(-1) == 1 else x.contiguous(), 1) for x in tensors)
    for own, *row in zip(sizes, *rows, strict=True):
        for parts in zip(*(torch.split(x, own, 2) for x in row), strict=True):
            yield next(reach), *parts


def _forward(window: int, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """A document's attention and the logarithms of its softmax's sums."""
    kernel: Callable[..., tuple[Tensor, Tensor]] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    if window >= q.shape[2]:
        return kernel(q, k, v, 0.0, True)
    bands = [kernel(q[:, :, own], k[:, :, seen], v[:, :, seen], 0.0, False, attn_mask=mask) for own, seen, mask in _bands(q, window)]
    return torch.cat([out for out, _ in bands], 2), torch.cat([sums for _, sums in bands], 2)


def _backward(window: int, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A document's gradients."""
    kernel: Callable[..., tuple[Tensor, Tensor, Tensor]] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    if window >= q.shape[2]:
        return kernel(grad, q, k, v, out, sums, 0.0, True)
    grads = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for own, seen, mask in _bands(q, window):  # a key is seen from its own band and from the next
        parts = kernel(grad[:, :, own], q[:, :, own], k[:, :, seen], v[:, :, seen], out[:, :, own], sums[:, :, own], 0.0, False,
                       attn_mask=mask)
        for whole, where, part in zip(grads, (own, seen, seen), parts, strict=True):
            whole[:, :, where] += part
    return grads


def _bands(q: Tensor, window: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """A document longer than its window, `window` queries at a time: these, the keys that they see, and which of them each sees."""
    for begin in range(0, q.shape[2], window):
        end, low = min(begin + window, q.shape[2]), max(0, begin - window + 1)
        back = torch.arange(begin, end)[:, None] - torch.arange(low, end)
        yield slice(begin, end), slice(low, end), q.new_zeros(back.shape).masked_fill_((back < 0) | (back >= window), -torch.inf)


def _joined(parts: list[Tensor], batch: int) -> Tensor:
    """Documents, [1, heads, size, ...] each, as rows again: [batch, heads, length, ...], a position's heads side by side."""
    whole = torch.cat([part.transpose(1, 2) for part in parts], dim=1)
    return whole.view(batch, -1, *whole.shape[2:]).transpose(1, 2)


def _like(x: Tensor) -> Tensor:
    """Room for what `_joined` gives of this shape."""
    return x.new_empty(x.transpose(1, 2).shape).transpose(1, 2)
