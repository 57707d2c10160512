"""A Hugging Face folder of the Llama family as a GGUF file with F32, F16 or BF16 weights.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What makes a file that only seems right: llama.cpp
rotates neighbouring features where Hugging Face rotates halves, so rows of the query and key projections change
places here; a file without that loads, writes text and is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from gguf import GGMLQuantizationType
from torch import Tensor

from medloom.ledger import Progress, Refusal, Silent
from medloom.model import weight_shapes
from medloom.model.config import ModelConfig, UnsupportedModel
from medloom.model.gguf_file import append, write_gguf
from medloom.model.gguf_head import ALIGNMENT, head_bytes

from .metadata import FILE_TYPES, About, shape_pairs
from .vocabulary import read_vocabulary
from .weights import Weight, ahead, stored_weights, write

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_GGML = {dtype: GGMLQuantizationType[name] for name, dtype in _DTYPES.items()}
_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def interleave(weight: Tensor, heads: int) -> Tensor:
    """Rows of a query or key projection in llama.cpp's order: from (first halves, second halves) to neighbouring pairs.

    weight: [heads * head_size, columns]; for keys under grouped-query attention, `heads` is the number of key-value heads.
    """
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def export_gguf(model: Path, out: Path, type: str = "F16", *, about: About | None = None,
                progress: Progress | None = None) -> dict[str, Any]:
    """Write the model in folder `model` to the GGUF file `out`; the same folder and arguments give the same bytes.

    type: "F32", "F16" or "BF16", of the matrices; norms are F32 always. about: by default the folder's name alone.
    Returns {"type", "bytes", "tensors", "parameters"}. A few megabytes of weights are in memory at a time.
    Raises Refusal for a folder that is not whole, a tokenizer that has no GGUF form here, or a weight that the type cannot hold;
    UnsupportedModel for other networks.
    """
    model, out = Path(model), Path(out)
    if type not in FILE_TYPES:
        raise Refusal(f"{type}: not a type that export writes; use one of {', '.join(FILE_TYPES)}, and quantise() for the others")
    if not (model / "config.json").is_file():
        raise Refusal(f"{model}: no config.json in it; name a model folder in Hugging Face form")
    config = ModelConfig.from_folder(model)
    _refuse_others(model, config)
    weights = _weights(model, config)
    vocabulary = read_vocabulary(model, config)
    factors = _frequency_factors(config)
    tensors = ({} if factors is None else {"rope_freqs.weight": factors}) | weights
    bar = (progress or Silent()).task(f"export {out.name}", len(tensors), "tensors")
    head = head_bytes(
        {"general.architecture": "llama", **(about or About(model.resolve().name)).pairs(), **shape_pairs(config, type),
         **vocabulary.pairs()},
        [(name, tensor.shape, _GGML[_dtype(tensor, type)]) for name, tensor in tensors.items()])
    parts = _parts(tensors, config, type)
    converts = any(isinstance(tensor, Weight) and tensor.dtype != _DTYPES[type] for tensor in tensors.values())
    with bar as task, write_gguf(out) as stream:
        append(stream, head)
        for part in ahead(parts) if converts else parts:
            if part is None:
                append(stream, bytes(-stream.tell() % ALIGNMENT))
                task.advance()
            elif isinstance(part, Weight):
                part.copy(stream)
            else:
                write(stream, part)
        size = stream.tell()
    return {"type": type, "bytes": size, "tensors": len(tensors), "parameters": config.parameters}


def _refuse_others(model: Path, config: ModelConfig) -> None:
    """GGUF's "llama" has neither biases nor norms in its attention, and sees all that came before. Mistral is it in all but the window."""
    if config.qkv_bias or config.head_norms:
        raise UnsupportedModel(f"{model}: GGUF export writes Llama and Mistral, and this is {config.family}; "
                               "convert it with llama.cpp's convert_hf_to_gguf.py")
    if config.window is not None and config.window < config.max_positions:
        raise UnsupportedModel(f"{model}: a sliding window of {config.window} has no place in GGUF's llama; in config.json set "
                               f"sliding_window to null and max_position_embeddings to {config.window}: so far the two are the same")


def _weights(folder: Path, config: ModelConfig) -> dict[str, Weight]:
    """The network's weights by GGUF's names, in file order. Refusal where one is missing or of another shape."""
    stored, shapes = stored_weights(folder), weight_shapes(config)
    names = dict(tensor_names(config))
    missing = [hf for hf in names.values() if hf not in stored]
    if missing:
        raise Refusal(f"{folder}: {len(missing)} weights are missing, first {missing[0]}; copy the folder again, whole")
    for hf in names.values():
        if stored[hf].shape != shapes[hf]:
            raise Refusal(f"{folder}: {hf} is {list(stored[hf].shape)}, and {list(shapes[hf])} by config.json; "
                          "copy the folder again, whole")
    return {ours: stored[hf] for ours, hf in names.items()}


def tensor_names(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Every weight of the network: (GGUF's name, Hugging Face's name), in file order."""
    yield "token_embd.weight", "model.embed_tokens.weight"
    for layer in range(config.layers):
        for hf, ours in _LAYER.items():
            yield f"blk.{layer}.{ours}.weight", f"model.layers.{layer}.{hf}.weight"
    yield "output_norm.weight", "model.norm.weight"
    if not config.tied:
        yield "output.weight", "lm_head.weight"


def _dtype(tensor: Weight | Tensor, type: str) -> torch.dtype:
    return torch.float32 if len(tensor.shape) == 1 else _DTYPES[type]


def _parts(tensors: Mapping[str, Weight | Tensor], config: ModelConfig, type: str) -> Iterator[Tensor | Weight | None]:
    """The file's tensors in order: slices as it holds them, or a weight to be copied as it is, and None after each tensor."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a slice is too little work to wait for other threads
    try:
        for name, tensor in tensors.items():
            dtype, turned = _dtype(tensor, type), name.endswith(("attn_q.weight", "attn_k.weight"))
            if isinstance(tensor, Tensor) or (tensor.dtype == dtype and not turned):
                yield tensor
            else:
                for part in tensor.slices(config.head_size if turned else 1):
                    yield _encoded(interleave(part, part.shape[0] // config.head_size) if turned else part, dtype, name)
            yield None
    finally:
        torch.set_num_threads(threads)


def _encoded(part: Tensor, dtype: torch.dtype, name: str) -> Tensor:
    if part.dtype == dtype:
        return part
    encoded = part.float().to(dtype)  # from one two-byte form to another torch is slow; by way of float32 it is not, and rounds alike
    if dtype == torch.float16 and not all(math.isfinite(end) for end in encoded.aminmax()):
        raise Refusal(f"{name} holds numbers beyond F16's greatest, 65504; export as BF16 or F32")
    return encoded


def _frequency_factors(config: ModelConfig) -> Tensor | None:
    """Llama 3's rescaling as llama.cpp wants it: what each rotation frequency is divided by, [head_size / 2], or None without it."""
    scaling = config.rope_scaling
    if scaling is None or "low_freq_factor" not in scaling:
        return None
    frequency = 1.0 / config.rope_theta ** (torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size)
    length, low, high = scaling["original_max_position_embeddings"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    wave = 2 * math.pi / frequency
    kept = (length / wave - low) / (high - low)
    between = 1 / ((1 - kept) / scaling["factor"] + kept)
    return torch.where(wave < length / high, 1.0, torch.where(wave > length / low, scaling["factor"], between))
