"""What a Llama-family network looks like: the shape, read from and written to Hugging Face's config.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..ledger import Refusal

ARCHITECTURES = {"LlamaForCausalLM": "llama"}


class UnsupportedModel(Refusal):
    """The folder holds a model that is not of the Llama family that this package implements."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a Llama-family network.

    Sizes are counts of features, heads, layers or tokens; `rope_scaling` is Llama 3's frequency
    rescaling (`factor`, `low_freq_factor`, `high_freq_factor`, `original_max_position_embeddings`),
    or None where positions are used as they are.
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

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.hidden_size, self.intermediate_size, self.layers, self.heads, self.kv_heads, self.max_positions)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise UnsupportedModel(f"a network's sizes must be whole numbers above 0, and these are {', '.join(map(repr, sizes))}")
        for name, token in (("bos_token_id", self.bos_id), ("eos_token_id", self.eos_id)):
            if token is not None and not (isinstance(token, int) and 0 <= token < self.vocab_size):
                raise UnsupportedModel(f"{name} = {token!r} is not an id of the {self.vocab_size} tokens")
        if not self.head_size:
            object.__setattr__(self, "head_size", self.hidden_size // self.heads)
        if self.heads % self.kv_heads:
            raise UnsupportedModel(f"{self.heads} attention heads cannot share {self.kv_heads} key-value heads evenly")

    @property
    def parameters(self) -> int:
        """Number of weights, a tied head counted once."""
        attention = self.hidden_size * self.head_size * (2 * self.heads + 2 * self.kv_heads)
        block = attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied else 2)
        return self.layers * block + embeddings + self.hidden_size

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
        if named not in ARCHITECTURES:
            raise UnsupportedModel(f"{folder}: architecture {named} is not supported; supported: {', '.join(ARCHITECTURES)}")
        for key in ("attention_bias", "mlp_bias"):
            if raw.get(key):
                raise UnsupportedModel(f"{folder}: {key} is set, and this network has no such bias")
        if raw.get("hidden_act", "silu") != "silu":
            raise UnsupportedModel(f"{folder}: hidden_act {raw['hidden_act']!r} is not supported; supported: silu")
        # transformers 5 moved theta and scaling into rope_parameters; 4 kept them apart.
        rope = raw.get("rope_parameters") or {"rope_theta": raw.get("rope_theta", 10_000.0), **(raw.get("rope_scaling") or {})}
        kind = rope.get("rope_type") or rope.get("type") or "default"
        scaling = None
        if kind == "llama3":
            keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
            scaling = {key: float(rope[key]) for key in keys}
        elif kind != "default":
            raise UnsupportedModel(f"{folder}: rope scaling {kind!r} is not supported; supported: default, llama3")
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
            rope_scaling=scaling,
            tied=bool(raw.get("tie_word_embeddings", False)),
            bos_id=raw.get("bos_token_id"),
            eos_id=eos[0] if isinstance(eos, list) else eos,
            head_size=raw.get("head_dim") or 0,
        )

    def to_hugging_face(self, dtype: str) -> dict[str, Any]:
        """The content of `config.json`, readable by transformers 4 and 5 alike; `dtype` such as "bfloat16"."""
        rope: dict[str, Any] = {"rope_type": "default"}
        if self.rope_scaling is not None:
            rope = {"rope_type": "llama3", **self.rope_scaling}
            rope["original_max_position_embeddings"] = int(rope["original_max_position_embeddings"])
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
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
            "attention_bias": False,
            "attention_dropout": 0.0,
            "mlp_bias": False,
            "tie_word_embeddings": self.tied,
            "bos_token_id": self.bos_id,
            "eos_token_id": self.eos_id,
            "initializer_range": 0.02,
            "use_cache": True,
            "torch_dtype": dtype,
            "dtype": dtype,
        }
