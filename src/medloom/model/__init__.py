"""The model room: the Llama-family network, its weights in Hugging Face form, tokenizers, and tokens on disk."""

from __future__ import annotations

from .config import ModelConfig, UnsupportedModel
from .extend import MEDITRON_TOKENS, extend_tokenizer
from .llama import Cache, Llama
from .llama2c import import_llama2c
from .new import new_model
from .tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from .tokens import TokenStore, TokenStoreWriter
from .weights import carry_tokenizer, load_model, save_model

__all__ = [
    "MEDITRON_TOKENS", "Cache", "Llama", "ModelConfig", "TokenStore", "TokenStoreWriter", "Tokenizer", "UnsupportedModel",
    "carry_tokenizer", "extend_tokenizer", "import_llama2c", "load_model", "load_tokenizer", "new_model", "save_model", "train_tokenizer",
]
