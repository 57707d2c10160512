"""Attention within documents against the dense mask: the same numbers and gradients, in every way that a layer is run."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from medloom.model import Cache, Llama, ModelConfig
from medloom.model.attention import Sight, _blocks, attend

CPU = torch.device("cpu")
KERNEL = torch.ops.medloom.document_attention.default


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("medloom.model.attention.SHORT", 0)  # so that small rows show what long ones do
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def packed(*rows: list[int]) -> Tensor:
    """Segments of rows with documents of these lengths; what is left at the end is padding."""
    length = max(map(sum, rows))
    return torch.tensor([[number for number, size in enumerate(row) for _ in range(size)] + [-1] * (length - sum(row)) for row in rows])


def drawn(batch: int, length: int, heads: tuple[int, int], size: int = 16, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(batch, length, count, size, generator=generator, dtype=dtype).transpose(1, 2).requires_grad_()
            for count in (heads[0], heads[1], heads[1])]


def plain(segments: Tensor, window: int | None) -> Tensor:
    """The rule, said position by position."""
    query, key = torch.arange(segments.shape[1])[:, None], torch.arange(segments.shape[1])
    seen = (key <= query) & (segments[:, :, None] == segments[:, None, :])
    return (seen if window is None else seen & (query - key < window))[:, None]


UNEVEN = packed([5, 30, 1, 28], [64], [20, 34])


@pytest.mark.parametrize("window", [None, 1, 7, 25, 64, 1000])
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
def test_each_document_gives_what_the_dense_mask_gives(window: int | None, heads: tuple[int, int]) -> None:
    q, k, v = inputs = drawn(3, 64, heads)
    sight = Sight.of(3, 64, CPU, segments=UNEVEN, window=window)
    mask = plain(UNEVEN, window)
    assert torch.equal(sight.dense(), mask)
    groups = heads[0] // heads[1]
    expected = F.scaled_dot_product_attention(q, k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), attn_mask=mask)
    out = attend(q, k, v, sight)
    assert (out - expected).abs().max() <= 1e-6
    wanted = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)) / 10
    for mine, theirs in zip(torch.autograd.grad(out, inputs, wanted), torch.autograd.grad(expected, inputs, wanted), strict=True):
        assert (mine - theirs).abs().max() <= 1e-6


def test_the_operator_keeps_torchs_rules() -> None:
    """Its shapes, strides and gradients, as torch's own check of operators sees them."""
    q, k, v = drawn(2, 7, (2, 1), size=4, dtype=torch.float64)
    for window in (None, 3):
        first = Sight.of(2, 7, CPU, segments=packed([2, 5], [7]), window=window).first
        torch.library.opcheck(KERNEL, (q, k, v, first), test_utils=("test_schema", "test_autograd_registration", "test_faketensor"))
        assert torch.autograd.gradcheck(lambda *x, first=first: KERNEL(*x, first)[0], (q, k, v), fast_mode=True)


def test_memory_order_and_half_precision_do_not_matter() -> None:
    q, k, v = drawn(3, 64, (4, 2))
    sight = Sight.of(3, 64, CPU, segments=UNEVEN, window=25)
    turned = attend(*(x.transpose(2, 3).contiguous().transpose(2, 3) for x in (q, k, v)), sight)
    assert torch.equal(turned, attend(q, k, v, sight))
    half = attend(*(x.bfloat16() for x in (q, k, v)), sight)
    assert half.dtype == torch.bfloat16 and (half - turned).abs().max() < 0.05


@pytest.mark.parametrize("window", [None, 25])
def test_short_rows_have_a_dense_mask(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = drawn(3, 64, (4, 2))
    long = Sight.of(3, 64, CPU, segments=UNEVEN, window=window)
    monkeypatch.setattr("medloom.model.attention.SHORT", 65)
    short = Sight.of(3, 64, CPU, segments=UNEVEN, window=window)
    assert long.first is not None and short.first is None
    assert (attend(q, k, v, short) - attend(q, k, v, long)).abs().max() <= 1e-6


@pytest.mark.parametrize("window", [None, 5])
def test_cached_positions_are_seen_within_the_window(window: int | None) -> None:
    q, k, v = drawn(1, 40, (4, 2))
    whole = attend(q, k, v, Sight.of(1, 40, CPU, window=window))
    for past, until in ((0, 17), (17, 18), (18, 40)):
        part = attend(q[:, :, past:until], k[:, :, :until], v[:, :, :until], Sight.of(1, until - past, CPU, past=past, window=window))
        assert (part - whole[:, :, past:until]).abs().max() <= 1e-6
    assert torch.equal(whole, attend(q, k, v, Sight.of(1, 40, CPU, window=40))) == (window is None)


def test_an_explicit_mask_replaces_every_rule() -> None:
    q, k, v = drawn(3, 64, (4, 2))
    own = torch.eye(64, dtype=torch.bool)[None, None]
    for more in ({}, {"segments": UNEVEN}, {"window": 3}):
        out = attend(q, k, v, Sight.of(3, 64, CPU, mask=own, **more))
        assert (out - v.repeat_interleave(2, 1)).abs().max() <= 1e-6


def test_segments_behind_a_cache_are_an_error() -> None:
    model, cache = network(), Cache()
    model(torch.zeros(1, 4, dtype=torch.long), cache=cache)
    with pytest.raises(ValueError, match="which document holds the cached positions"):
        model(torch.zeros(1, 4, dtype=torch.long), cache=cache, segments=packed([4]))


class Counts(TorchDispatchMode):
    """How often the documents' attention is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.forward += func is KERNEL
        return func(*args, **(kwargs or {}))


def network() -> Llama:
    model = Llama(ModelConfig(97, 64, 96, 2, 4, 2, 256))
    model.initialise(1, std=0.2)
    return model


def keep_attention(context: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op is KERNEL else CheckpointPolicy.PREFER_RECOMPUTE


SELECTIVE = partial(create_selective_checkpoint_contexts, keep_attention)
WAYS: dict[str, Callable[..., Any] | None] = {
    "kept": None,
    "recomputed": partial(checkpoint, use_reentrant=False),
    "selective": partial(checkpoint, use_reentrant=False, context_fn=SELECTIVE),
}


class Recomputed(nn.Module):
    def __init__(self, block: nn.Module, how: Callable[..., Any]) -> None:
        super().__init__()
        self.block, self.how = block, how

    def forward(self, *args: Any) -> Any:
        return self.how(self.block, *args)


def gradients(model: Llama, tokens: Tensor, segments: Tensor) -> list[Tensor]:
    parameters = list(model.parameters())
    return list(torch.autograd.grad(model.logits(model(tokens, segments=segments)).logsumexp(-1).mean(), parameters))


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_layer_may_be_compiled_and_recomputed_and_takes_every_packing(how: str, compiled: bool) -> None:
    torch._dynamo.reset()
    model = network()
    other, way = copy.deepcopy(model), WAYS[how]
    for name, block in other.model.layers.items():
        other.model.layers[name] = block if way is None else Recomputed(block, way)
        if compiled:
            other.model.layers[name].compile(backend="aot_eager", fullgraph=True)
    tokens = torch.randint(0, 97, (3, 64), generator=torch.Generator().manual_seed(3))
    for segments in (UNEVEN, packed([64], [10, 54], [60, 3]), packed(*[[4] * 16] * 3)):
        counts = Counts()
        with counts if not compiled else torch._dynamo.config.patch(error_on_recompile=True):
            found = gradients(other, tokens, segments)
        assert counts.forward == (0 if compiled else 4 if how == "recomputed" else 2)
        for mine, theirs in zip(found, gradients(model, tokens, segments), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 40, 300])
def test_the_block_mask_for_cuda_is_the_same_rule(window: int | None) -> None:
    """Against torch's own builder, which evaluates the rule at every pair of positions, and against our kernel."""
    segments = packed([300, 20, 280], [600], [128, 128, 130, 1, 100])
    sight = Sight.of(3, 600, CPU, segments=segments, window=window)
    assert sight.first is not None
    blocks, mask = _blocks(sight.first), plain(segments, window)
    theirs = create_block_mask(lambda b, h, q, k: mask[b, 0, q, k], 3, None, 600, 600, device="cpu")
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(blocks, name), getattr(theirs, name)), name
    assert torch.equal(blocks.to_dense(), theirs.to_dense())
    assert blocks.full_kv_num_blocks is not None and bool(blocks.full_kv_num_blocks.any()) == (window != 40)
    q, k, v = (x.detach() for x in drawn(3, 600, (4, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it says that it is slow where it is not compiled
        out = flex_attention(q, k, v, block_mask=blocks, enable_gqa=True)
    assert (out - attend(q, k, v, sight)).abs().max() <= 1e-6
