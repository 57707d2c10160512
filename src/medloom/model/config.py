"""What a Llama-family network looks like: the shape, read from and written to Hugging Face's config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..ledger import Refusal

ROPE_KEYS = {
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "linear": ("factor",),
}


@dataclass(frozen=True)
class Family:
    """What sets one family apart from Llama, and the name that transformers has for its network."""

    architecture: str
    qkv_bias: bool = False
    head_norms: bool = False


# By transformers' `model_type`.
FAMILIES = {
    "llama": Family("LlamaForCausalLM"),
    "mistral": Family("MistralForCausalLM"),
    "qwen2": Family("Qwen2ForCausalLM", qkv_bias=True),
    "qwen3": Family("Qwen3ForCausalLM", head_norms=True),
}


class UnsupportedModel(Refusal):
    """The folder holds a model that is not of the Llama family that this package implements."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a Llama-family network.

    Sizes are counts of features, heads, layers or tokens. `rope_scaling` is Llama 3's frequency rescaling (`factor`,
    `low_freq_factor`, `high_freq_factor`, `original_max_position_embeddings`), linear interpolation (`factor` alone; Chen et
    al. 2023, arXiv 2306.15595), or None where positions are used as they are. With a `window`, a position sees itself and the
    `window` - 1 before it (Mistral; Jiang et al. 2023, arXiv 2310.06825), in every layer. `family` is a key of FAMILIES.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    max_positions: int
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, float] | None = None
    tied: bool = False
    bos_id: int | None = 1
    eos_id: int | None = 2
    head_size: int = 0
    family: str = "llama"
    window: int | None = None

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.hidden_size, self.intermediate_size, self.layers, self.heads, self.kv_heads, self.max_positions)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UnsupportedModel(f"a network's sizes must be whole numbers above 0, and these are {', '.join(map(repr, sizes))}")
        if self.window is not None and not (isinstance(self.window, int) and self.window > 0):
            raise UnsupportedModel(f"a sliding window must be a whole number above 0, and this is {self.window!r}")
        for name, token in (("bos_token_id", self.bos_id), ("eos_token_id", self.eos_id)):
            if token is not None and not (isinstance(token, int) and 0 <= token < self.vocab_size):
                raise UnsupportedModel(f"{name} = {token!r} is not an id of the {self.vocab_size} tokens")
        if not self.head_size:
            object.__setattr__(self, "head_size", self.hidden_size // self.heads)
        if self.heads % self.kv_heads:
            raise UnsupportedModel(f"{self.heads} attention heads cannot share {self.kv_heads} key-value heads evenly")

    @property
    def qkv_bias(self) -> bool:
        """Whether queries, keys and values have a bias (Qwen 2)."""
        return FAMILIES[self.family].qkv_bias

    @property
    def head_norms(self) -> bool:
        """Whether queries and keys are normalised head by head before they are rotated (Qwen 3)."""
        return FAMILIES[self.family].head_norms

    @property
    def layer_parameters(self) -> int:
        """Number of weights in one layer."""
        rows = (self.heads + 2 * self.kv_heads) * self.head_size
        attention = self.hidden_size * (rows + self.heads * self.head_size) + rows * self.qkv_bias + 2 * self.head_size * self.head_norms
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def parameters(self) -> int:
        """Number of weights, a tied head counted once."""
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden_size

    def padded(self, multiple: int, tokens: int = 0) -> ModelConfig:
        """The same network with room for `tokens` at least and a vocabulary that is a multiple of `multiple`.

        Tensor parallelism needs a multiple of its ways, matrix products like multiples of 64 or 128.
        """
        return replace(self, vocab_size=-(-max(self.vocab_size, tokens) // multiple) * multiple)

    @classmethod
    def from_folder(cls, folder: Path) -> ModelConfig:
        """Read `config.json` as transformers 4 or 5 wrote it.

        Raises Refusal where there is none or a key is missing, UnsupportedModel (a Refusal), naming the key, for anything
        outside the family.
        """
        path = folder / "config.json"
        try:
            return cls._from_raw(folder, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise Refusal(f"{path}: no such file; name a model folder in Hugging Face form") from None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Refusal(f"{path}: not valid JSON: {error}") from None
        except KeyError as error:
            raise Refusal(f"{path}: the key {error} is missing") from None
        except (AttributeError, TypeError, ValueError) as error:
            if isinstance(error, Refusal):
                raise
            raise Refusal(f"{path}: a value is not of the kind that a Llama's config.json holds ({error})") from None

    @classmethod
    def _from_raw(cls, folder: Path, raw: dict[str, Any]) -> ModelConfig:
        named = (raw.get("architectures") or ["?"])[0]
        family = next((name for name, known in FAMILIES.items() if known.architecture == named), None)
        if family is None:
            known = ", ".join(known.architecture for known in FAMILIES.values())
            raise UnsupportedModel(f"{folder}: architecture {named} is not supported; supported: {known}")
        for key in ("attention_bias", "mlp_bias"):
            if raw.get(key):
                raise UnsupportedModel(f"{folder}: {key} is set, and this network has no such bias")
        if raw.get("hidden_act", "silu") != "silu":
            raise UnsupportedModel(f"{folder}: hidden_act {raw['hidden_act']!r} is not supported; supported: silu")
        # transformers 5 moved theta and scaling into rope_parameters; 4 kept them apart.
        rope = raw.get("rope_parameters") or {"rope_theta": raw.get("rope_theta", 10_000.0), **(raw.get("rope_scaling") or {})}
        kind = rope.get("rope_type") or rope.get("type") or "default"
        if kind != "default" and kind not in ROPE_KEYS:
            raise UnsupportedModel(f"{folder}: rope scaling {kind!r} is not supported; supported: default, {', '.join(ROPE_KEYS)}")
        eos = raw.get("eos_token_id")
        return cls(
            vocab_size=raw["vocab_size"],
            hidden_size=raw["hidden_size"],
            intermediate_size=raw["intermediate_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            kv_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            max_positions=raw["max_position_embeddings"],
            norm_eps=raw["rms_norm_eps"],
            rope_theta=float(rope.get("rope_theta", 10_000.0)),
            rope_scaling={key: float(rope[key]) for key in ROPE_KEYS[kind]} if kind in ROPE_KEYS else None,
            tied=bool(raw.get("tie_word_embeddings", False)),
            bos_id=raw.get("bos_token_id"),
            eos_id=eos[0] if isinstance(eos, list) else eos,
            # Qwen 3 has a default of its own, which is not hidden_size / heads.
            head_size=raw["head_dim"] if family == "qwen3" else raw.get("head_dim") or 0,
            family=family,
            window=_window(folder, family, raw),
        )

    def to_hugging_face(self, dtype: str) -> dict[str, Any]:
        """The content of `config.json`, readable by transformers 4 and 5 alike; `dtype` such as "bfloat16"."""
        rope: dict[str, Any] = {"rope_type": "default"}
        if self.rope_scaling is not None:
            kind = next(kind for kind, keys in ROPE_KEYS.items() if self.rope_scaling.keys() == set(keys))
            rope = {"rope_type": kind, **self.rope_scaling}
            if kind == "llama3":
                rope["original_max_position_embeddings"] = int(rope["original_max_position_embeddings"])
        slides = self.window is not None
        qwen = {"use_sliding_window": slides, "sliding_window": self.window, "max_window_layers": 0 if slides else self.layers}
        own: dict[str, dict[str, Any]] = {
            "llama": {"attention_bias": False, "mlp_bias": False},
            "mistral": {"sliding_window": self.window},
            "qwen2": qwen,
            "qwen3": {"attention_bias": False, **qwen},
        }
        return {
            "architectures": [FAMILIES[self.family].architecture],
            "model_type": self.family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_positions,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": None if self.rope_scaling is None else rope,
            "rope_parameters": {"rope_theta": self.rope_theta, **rope},
            **own[self.family],
            "attention_dropout": 0.0,
            "tie_word_embeddings": self.tied,
            "bos_token_id": self.bos_id,
            "eos_token_id": self.eos_id,
            "initializer_range": 0.02,
            "use_cache": True,
            "torch_dtype": dtype,
            "dtype": dtype,
        }


def _window(folder: Path, family: str, raw: dict[str, Any]) -> int | None:
    """The window that every layer has, or None. Qwen's files may name one that is off, or that only the layers from some number on have.

    Raises UnsupportedModel where some layers have it and others not.
    """
    size: int | None = raw.get("sliding_window", 4096)  # transformers' default where the key is missing
    if family == "mistral":
        return size
    if family == "llama" or size is None or not raw.get("use_sliding_window", False):
        return None
    layers = raw["num_hidden_layers"]
    slides = [kind == "sliding_attention" for kind in raw.get("layer_types") or ()] or \
        [layer >= raw.get("max_window_layers", 28) for layer in range(layers)]
    if any(slides) and not all(slides):
        raise UnsupportedModel(f"{folder}: {sum(slides)} of {layers} layers have a sliding window; supported: all of them or none")
    return size if all(slides) else None
