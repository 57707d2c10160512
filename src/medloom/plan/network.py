"""Which network a recipe adapts, without reading its weights, and the arithmetic of one token through it."""

from __future__ import annotations

import struct
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from ..ledger import Refusal
from ..model import flops_per_token
from ..model.config import ModelConfig, UnsupportedModel
from ..recipe import Lora, Recipe, Shape


def _llama(vocabulary: int, hidden: int, feed_forward: int, layers: int, heads: int, kv_heads: int, context: int) -> ModelConfig:
    return ModelConfig(vocabulary, hidden, feed_forward, layers, heads, kv_heads, context)


# Shapes as their makers published them, so that a run can be planned before many gigabytes are fetched. Keys: the base's name, bare.
PUBLISHED = {
    "llama-2-7b": _llama(32_000, 4096, 11_008, 32, 32, 32, 4096),
    "llama-2-13b": _llama(32_000, 5120, 13_824, 40, 40, 40, 4096),
    "llama-2-70b": _llama(32_000, 8192, 28_672, 80, 64, 8, 4096),
    "meta-llama-3-8b": _llama(128_256, 4096, 14_336, 32, 32, 8, 8192),
    "meta-llama-3-70b": _llama(128_256, 8192, 28_672, 80, 64, 8, 8192),
    "mistral-7b-v0.1": replace(_llama(32_000, 4096, 14_336, 32, 32, 8, 32_768), family="mistral", window=4096),
}


def network(recipe: Recipe, model_folder: Path | None = None) -> tuple[ModelConfig, str]:
    """The network's shape and where it was read: a folder at hand, the recipe's new shape, the base's files, or its published name.

    Raises Refusal, naming the cure, where none of these tells the shape.
    """
    base = recipe.base
    if model_folder is not None:
        return _read(model_folder), str(model_folder)
    if base.new is not None:
        return _drawn(base.new), "base.new"
    if base.path is None:
        raise Refusal(f"{recipe.name}: the recipe names no base model; give base.path or base.new")
    place = Path(str(files("medloom"))) / "demo" / "seedling" if base.path == "seedling" else recipe.locate(base.path)
    if place.suffix == ".bin" and place.is_file():
        return _llama2c(place), str(place)
    if (place / "config.json").is_file():
        return _read(place), str(place)
    for name in (base.name, base.path):
        known = PUBLISHED.get(_bare(name)) if name else None
        if known is not None:
            return known, f"the published shape of {name}"
    raise Refusal(f"{place}: holds no config.json, so the network's size is unknown; put the model folder there, point base.path at it, "
                  f"or name a published base in base.name ({', '.join(PUBLISHED)})")


def adapter_parameters(config: ModelConfig, lora: Lora | None) -> int:
    """Weights that adapters add, and alone learn: rank x (inputs + outputs) of each target, and for DoRA its outputs once more."""
    if lora is None:
        return 0
    hidden, heads, kv_heads = config.hidden_size, config.heads * config.head_size, config.kv_heads * config.head_size
    shapes = {"q_proj": (hidden, heads), "k_proj": (hidden, kv_heads), "v_proj": (hidden, kv_heads), "o_proj": (heads, hidden),
              "gate_proj": (hidden, config.intermediate_size), "up_proj": (hidden, config.intermediate_size),
              "down_proj": (config.intermediate_size, hidden)}
    return config.layers * sum(lora.rank * (inputs + outputs) + lora.dora * outputs
                               for inputs, outputs in (shapes[target] for target in lora.targets))


def tokens_flops(config: ModelConfig, length: int, lora: Lora | None = None) -> tuple[float, float]:
    """FLOPs to train on one token: (6 N, 6 N + attention).

    6 N is 2 N forward, 2 N back to the activations and 2 N to the weights (Kaplan et al. 2020, arXiv:2001.08361); the second is
    `flops_per_token`. Under adapters the last third is theirs alone: 4 N + 6 of theirs.
    """
    dense, with_attention = 6.0 * config.parameters, flops_per_token(config, length)
    if lora is None:
        return dense, with_attention
    looked_up = 0 if config.tied else config.vocab_size * config.hidden_size
    change = 6.0 * adapter_parameters(config, lora)
    return dense + change - 2.0 * config.parameters, with_attention + change - 2.0 * (config.parameters - looked_up)


def _read(folder: Path) -> ModelConfig:
    try:
        return ModelConfig.from_folder(folder)
    except FileNotFoundError:
        raise Refusal(f"{folder}: holds no config.json; give a model folder in Hugging Face form") from None
    except UnsupportedModel as error:
        raise Refusal(str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(f"{folder / 'config.json'}: not the configuration of a Llama ({error}); fetch the model folder again") from None


def _drawn(shape: Shape) -> ModelConfig:
    return ModelConfig(shape.vocabulary, shape.hidden, shape.feed_forward, shape.layers, shape.heads, shape.kv_heads, shape.context,
                       rope_theta=shape.rope_theta, tied=shape.tied)


def _llama2c(path: Path) -> ModelConfig:
    """The seven int32 at the head of a llama2.c checkpoint; a negative vocabulary says that the head is not tied."""
    head = path.open("rb").read(28)
    if len(head) < 28:
        raise Refusal(f"{path}: too short for a llama2.c checkpoint; fetch it again")
    hidden, feed_forward, layers, heads, kv_heads, vocabulary, context = struct.unpack("<7i", head)
    if min(hidden, feed_forward, layers, heads, kv_heads, context) <= 0 or hidden % heads or heads % kv_heads:
        raise Refusal(f"{path}: its head is not that of a llama2.c checkpoint (float32, version 0); export it again")
    return ModelConfig(abs(vocabulary), hidden, feed_forward, layers, heads, kv_heads, context, tied=vocabulary > 0)


def _bare(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower().removesuffix("-hf")
