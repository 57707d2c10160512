"""A network drawn at random, in a folder like any other model's."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..ledger import Refusal
from ..ledger.files import atomic
from ..recipe import Shape
from .config import ModelConfig
from .llama import Llama
from .tokenizer import carry_tokenizer, complete_tokenizer, load_tokenizer
from .weights import save_model


def new_model(shape: Shape, tokenizer: Path, seed: int, folder: Path) -> None:
    """Write a random network of `shape` (float32) with a tokenizer: a folder that holds one, or its tokenizer.model.

    Raises Refusal where the shape's vocabulary cannot hold the tokenizer's ids.
    """
    known = load_tokenizer(tokenizer)
    if known.vocab_size > shape.vocabulary:
        raise Refusal(f"{known.path}: {known.vocab_size} tokens where base.new.vocabulary = {shape.vocabulary}; "
                      f"set it to {known.vocab_size} or more")
    model = Llama(ModelConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, intermediate_size=shape.feed_forward, layers=shape.layers,
        heads=shape.heads, kv_heads=shape.kv_heads, max_positions=shape.context, rope_theta=shape.rope_theta, tied=shape.tied,
        bos_id=known.bos_id, eos_id=known.eos_id))
    model.initialise(seed)
    if tokenizer.is_dir():
        carry_tokenizer(tokenizer, folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(folder / tokenizer.name) as temporary:
            shutil.copyfile(tokenizer, temporary)
        complete_tokenizer(folder)
    save_model(model, folder, like=None, dtype="float32")
