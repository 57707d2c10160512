"""The model room: the Llama-family network, its weights in Hugging Face form, tokenizers, and tokens on disk.

What computes is imported when it is first asked for: it brings torch, and whoever only tokenises has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ModelConfig, UnsupportedModel
from .extend import MEDITRON_TOKENS, extend_tokenizer
from .flops import flops_per_token
from .templates import Message, Template, load_template
from .tokenizer import Tokenizer, carry_tokenizer, load_tokenizer, train_tokenizer
from .tokens import TokenStore, TokenStoreWriter

if TYPE_CHECKING:
    from .by_layer import run_by_layer
    from .llama import Cache, Llama, Part
    from .llama2c import import_llama2c
    from .new import new_model
    from .share import local, whole
    from .verify import Verification, describe, verify_weights
    from .weights import is_adapter, load_model, load_weights, save_model, save_weights, weight_shapes

__all__ = [
    "MEDITRON_TOKENS", "Cache", "Llama", "Message", "ModelConfig", "Part", "Template", "TokenStore", "TokenStoreWriter", "Tokenizer",
    "UnsupportedModel", "Verification", "carry_tokenizer", "describe", "extend_tokenizer", "flops_per_token", "import_llama2c",
    "is_adapter", "load_model", "load_template", "load_tokenizer", "load_weights", "local", "new_model", "run_by_layer", "save_model",
    "save_weights", "train_tokenizer", "verify_weights", "weight_shapes", "whole",
]

_COMPUTES = {"Cache": "llama", "Llama": "llama", "Part": "llama", "import_llama2c": "llama2c", "new_model": "new",
             "Verification": "verify", "describe": "verify", "verify_weights": "verify",
             "is_adapter": "weights", "load_model": "weights", "load_weights": "weights", "save_model": "weights",
             "save_weights": "weights", "weight_shapes": "weights", "local": "share", "whole": "share", "run_by_layer": "by_layer"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
