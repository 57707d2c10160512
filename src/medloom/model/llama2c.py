"""llama2.c's checkpoint and tokenizer files, turned into a Hugging Face folder.

The checkpoint (version 0, as run.c maps it): seven int32 (dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len;
a negative vocab_size says that the head is its own), then float32 tensors, each kind for all layers at once. The tokenizer: int32
longest token, then per token a float32 score, an int32 length and its bytes, with spaces for U+2581.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch

from ..ledger import Refusal
from ..ledger.files import atomic
from .config import ModelConfig
from .llama import Llama
from .sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, Piece, Pieces, write_pieces
from .tokenizer import complete_tokenizer
from .weights import save_model

HEADER = struct.Struct("<7i")


def import_llama2c(checkpoint: Path, tokenizer: Path, folder: Path) -> None:
    """Write the Hugging Face folder (float32) of a llama2.c checkpoint and its tokenizer.

    Raises Refusal where a file is cut short or the two do not belong together.
    """
    model = _read_checkpoint(Path(checkpoint))
    pieces = _read_tokenizer(Path(tokenizer))
    if len(pieces.pieces) != model.config.vocab_size:
        raise Refusal(f"{tokenizer}: {len(pieces.pieces)} tokens where {checkpoint} has {model.config.vocab_size}; "
                      "name the tokenizer it was trained with")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / "tokenizer.model") as temporary:
        write_pieces(temporary, pieces)
    complete_tokenizer(folder)
    save_model(model, folder, like=None, dtype="float32")


def _read_checkpoint(path: Path) -> Llama:
    try:
        blob = path.read_bytes()
        hidden, feed_forward, layers, heads, kv_heads, vocabulary, context = HEADER.unpack_from(blob)
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; base.path must name a llama2.c checkpoint") from None
    except struct.error:
        raise Refusal(f"{path}: too short for a llama2.c checkpoint") from None
    tied, vocabulary = vocabulary > 0, abs(vocabulary)
    if min(hidden, feed_forward, layers, heads, kv_heads, vocabulary, context) <= 0 or hidden % heads or heads % kv_heads:
        raise Refusal(f"{path}: not a llama2.c checkpoint of version 0 (its header gives impossible sizes)")
    config = ModelConfig(vocab_size=vocabulary, hidden_size=hidden, intermediate_size=feed_forward, layers=layers, heads=heads,
                         kv_heads=kv_heads, max_positions=context, tied=tied)
    size, keys = config.head_size, kv_heads * config.head_size
    # The name of each tensor in file order: one for the network, or one of every layer.
    order: list[tuple[str, tuple[int, ...]]] = [
        ("model.embed_tokens.weight", (vocabulary, hidden)),
        ("input_layernorm", (layers, hidden)),
        ("self_attn.q_proj", (layers, hidden, hidden)),
        ("self_attn.k_proj", (layers, keys, hidden)),
        ("self_attn.v_proj", (layers, keys, hidden)),
        ("self_attn.o_proj", (layers, hidden, hidden)),
        ("post_attention_layernorm", (layers, hidden)),
        ("mlp.gate_proj", (layers, feed_forward, hidden)),
        ("mlp.down_proj", (layers, hidden, feed_forward)),
        ("mlp.up_proj", (layers, feed_forward, hidden)),
        ("model.norm.weight", (hidden,)),
        ("", (context, size)),  # tables of cosines and sines, which the network computes itself
        *([] if tied else [("lm_head.weight", (vocabulary, hidden))]),
    ]
    expected = HEADER.size + 4 * sum(int(np.prod(shape)) for _, shape in order)
    if len(blob) != expected:
        raise Refusal(f"{path}: {len(blob)} bytes where its header asks for {expected}; the file is cut short or of another version")
    state: dict[str, torch.Tensor] = {}
    place = HEADER.size
    for name, shape in order:
        count = int(np.prod(shape))
        tensor = torch.from_numpy(np.frombuffer(blob, "<f4", count, place).reshape(shape).copy())
        place += 4 * count
        if name in ("self_attn.q_proj", "self_attn.k_proj"):
            # Rotary pairs lie side by side here, and half a head apart in Hugging Face's form.
            tensor = tensor.view(layers, -1, size // 2, 2, hidden).transpose(2, 3).reshape(shape)
        if name.endswith(".weight"):
            state[name] = tensor
        elif name:
            state.update({f"model.layers.{layer}.{name}.weight": tensor[layer] for layer in range(layers)})
    model = Llama(config)
    model.load_state_dict(state)
    return model


def _read_tokenizer(path: Path) -> Pieces:
    try:
        blob = path.read_bytes()
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; base.tokenizer must name the checkpoint's llama2.c tokenizer") from None
    pieces: list[Piece] = []
    place = 4
    try:
        while place < len(blob):
            score, length = struct.unpack_from("<fi", blob, place)
            text = blob[place + 8 : place + 8 + length].decode("utf-8")
            place += 8 + length
            pieces.append(_piece(text, score, len(pieces)))
    except (struct.error, UnicodeDecodeError):
        raise Refusal(f"{path}: not a llama2.c tokenizer, or cut short") from None
    if place != len(blob) or len(pieces) < 3:
        raise Refusal(f"{path}: not a llama2.c tokenizer, or cut short")
    return Pieces(tuple(pieces))


def _piece(text: str, score: float, number: int) -> Piece:
    if number < 3:  # unknown, beginning, end; llama2.c pads the latter two with line ends for printing
        return Piece(text.strip(), score, UNKNOWN if number == 0 else CONTROL)
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return Piece(text, score, BYTE)
    return Piece(text.replace(" ", "\u2581"), score, NORMAL)
