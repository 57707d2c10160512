"""The Llama-family network, plain: no parallelism, no file formats, no training in here.

Parameter names are Hugging Face's, so that safetensors load without a conversion step. Layers sit in a
ModuleDict and the embedding and the head may be absent, so that one class can be any stage of a pipeline.

Llama 2: Touvron et al. 2023, arXiv 2307.09288. RoPE: Su et al. 2021, arXiv 2104.09864, in the half-rotation form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .attention import Sight, attend
from .config import ModelConfig


def rope_frequencies(config: ModelConfig) -> Tensor:
    """Rotation per position of each feature pair, in radians: [head_size / 2], float32, on the CPU.

    With Llama 3.1's `rope_scaling`, wavelengths beyond the original context are stretched by `factor` and those between the two
    bounds are blended; linear scaling stretches them all.
    """
    exponent = torch.arange(0, config.head_size, 2, dtype=torch.float32, device="cpu") / config.head_size
    frequency = 1.0 / config.rope_theta**exponent
    if config.rope_scaling is None:
        return frequency
    scaling = config.rope_scaling
    if "low_freq_factor" not in scaling:
        return frequency / scaling["factor"]
    turns = scaling["original_max_position_embeddings"] * frequency / (2 * math.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (kept + (1 - kept) / scaling["factor"])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions. x: [batch, heads, length, head_size]; cos, sin: [batch or 1, 1, length, head_size / 2]."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


@dataclass
class Cache:
    """Keys and values of what was read so far, one pair per layer: [batch, kv_heads, length, head_size]."""

    layers: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Positions held."""
        return next(iter(self.layers.values()))[0].shape[2] if self.layers else 0

    def extend(self, layer: str, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append new positions to a layer and return all that it holds."""
        if layer in self.layers:
            old_key, old_value = self.layers[layer]
            key, value = torch.cat((old_key, key), dim=2), torch.cat((old_value, value), dim=2)
        self.layers[layer] = (key, value)
        return key, value

    def expanded(self, batch: int) -> Cache:
        """The same single-row content seen by `batch` rows, without a copy."""
        return Cache({name: (k.expand(batch, -1, -1, -1), v.expand(batch, -1, -1, -1)) for name, (k, v) in self.layers.items()})


def _computed(x: Tensor) -> Tensor:
    """x in the precision of the matrix products: autocast would cast it anew for each of the projections that read it."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


class Attention(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) with rotary positions; a family may have biases or norms in it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = config.heads, config.kv_heads, config.head_size
        self.q_proj = nn.Linear(config.hidden_size, config.heads * config.head_size, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_size, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.kv_heads * config.head_size, bias=config.qkv_bias)
        self.o_proj = nn.Linear(config.heads * config.head_size, config.hidden_size, bias=False)
        self.q_norm: nn.RMSNorm | None = nn.RMSNorm(config.head_size, eps=config.norm_eps) if config.head_norms else None
        self.k_norm: nn.RMSNorm | None = nn.RMSNorm(config.head_size, eps=config.norm_eps) if config.head_norms else None

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sight: Sight, cache: Cache | None, layer: str) -> Tensor:
        batch, length, _ = x.shape
        # The number of heads is left open: under tensor parallelism a rank has its share of them.
        q = self.q_proj(x).view(batch, length, -1, self.head_size).transpose(1, 2)
        k = self.k_proj(x).view(batch, length, -1, self.head_size).transpose(1, 2)
        v = self.v_proj(x).view(batch, length, -1, self.head_size).transpose(1, 2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = _computed(self.q_norm(q)), _computed(self.k_norm(k))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        mixed: Tensor = self.o_proj(attend(q, k, v, sight).transpose(1, 2).reshape(batch, length, -1))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Block(nn.Module):
    """One decoder layer: attention and feed-forward, each on a normalised residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, sight: Sight, cache: Cache | None, layer: str) -> Tensor:
        x = x + self.self_attn(_computed(self.input_layernorm(x)), cos, sin, sight, cache, layer)
        x = x + self.mlp(_computed(self.post_attention_layernorm(x)))
        return x


@dataclass(frozen=True)
class Part:
    """Some layers of a network, [first, last), and whether the embedding before and the norm and head behind them belong to it."""

    first: int
    last: int
    embeds: bool = True
    scores: bool = True


class Stack(nn.Module):
    """Embedding, layers and final norm; any of the ends may be absent in a pipeline stage."""

    def __init__(self, config: ModelConfig, part: Part) -> None:
        super().__init__()
        self.embed_tokens: nn.Embedding | None = _embedding(config) if part.embeds else None
        self.layers = nn.ModuleDict({str(i): Block(config) for i in range(part.first, part.last)})
        self.norm: nn.RMSNorm | None = nn.RMSNorm(config.hidden_size, eps=config.norm_eps) if part.scores else None


def _embedding(config: ModelConfig) -> nn.Embedding:
    shape = config.vocab_size, config.hidden_size
    # On the meta device torch would draw numbers by way of its compiler, whose import takes seconds.
    return nn.Embedding(*shape, _weight=torch.empty(shape) if torch.get_default_device().type == "meta" else None)


class Llama(nn.Module):
    """A causal language model, or a part of one. `forward` gives hidden states; `logits` maps those that are needed to the vocabulary."""

    def __init__(self, config: ModelConfig, part: Part | None = None) -> None:
        super().__init__()
        part = part or Part(0, config.layers)
        self.config, self.part = config, part
        self.model = Stack(config, part)
        self.lm_head: nn.Linear | None = None
        if part.scores and not config.tied:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.frequencies: Tensor
        self.register_buffer("frequencies", rope_frequencies(config).to(torch.get_default_device()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Llama:
        # The rotations are computed, not learned: float32 whatever the weights are cast to, and whole after meta or to_empty.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.frequencies.device.type != "meta":
            self.frequencies = rope_frequencies(self.config).to(self.frequencies.device)
        return self

    def initialise(self, seed: int, std: float = 0.02) -> None:
        """Draw every weight anew: normal(0, std), residual outputs scaled by 1/sqrt(2 layers), norms one, biases zero."""
        generator = torch.Generator().manual_seed(seed)
        residual = std / math.sqrt(2 * self.config.layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                nn.init.constant_(weight, 0.0 if name.endswith(".bias") else 1.0)
            else:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=residual if deep else std, generator=generator)

    def forward(self, tokens: Tensor, *, positions: Tensor | None = None, segments: Tensor | None = None,
                mask: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Hidden states of every position: [batch, length, hidden_size].

        tokens: [batch, length] ids, or hidden states [batch, length, hidden_size] where the embedding is absent.
        positions: [batch, length], counted from 0; by default on from what the cache holds.
        segments: [batch, length] document numbers; a position sees only its own document.
        mask: [batch or 1, 1, length, cached + length], true where a position may look; replaces the causal rule.
        cache: read and extended in place.
        """
        # Under tensor parallelism a stage receives a part of each sequence; the positions are always of all of it.
        length = tokens.shape[1] if positions is None else positions.shape[1]
        past = cache.length if cache is not None else 0
        if positions is None:
            positions = torch.arange(past, past + length, device=tokens.device)[None]
        angle = positions[..., None].float() * self.frequencies
        x = self.model.embed_tokens(tokens) if self.model.embed_tokens is not None else tokens
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        sight = Sight.of(tokens.shape[0], length, tokens.device, segments=segments, mask=mask, past=past,
                         window=self.config.window)
        for name, block in self.model.layers.items():
            x = block(x, cos, sin, sight, cache, name)
        return self.model.norm(x) if self.model.norm is not None else x

    def head(self) -> Tensor:
        """The matrix that maps hidden states to the vocabulary: [vocab_size, hidden_size]."""
        head = self.lm_head if self.lm_head is not None else self.model.embed_tokens
        assert head is not None
        weight: Tensor = head.weight
        return weight

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary for the given hidden states: [..., vocab_size]."""
        return F.linear(hidden, self.head())
