"""A Hugging Face folder of the Llama family as a GGUF file with F32, F16 or BF16 weights.

GGUF: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What makes a file that only seems right: llama.cpp
rotates neighbouring features where Hugging Face rotates halves, so rows of the query and key projections change
places here; a file without that loads, writes text and is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal
from medloom.ledger.files import atomic
from medloom.model.config import ModelConfig, UnsupportedModel
from medloom.model.gguf_file import write_digest

from .vocabulary import read_vocabulary

Array = NDArray[Any]

FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}
_LAYER = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def interleave(weight: Array, heads: int) -> Array:
    """Rows of a query or key projection in llama.cpp's order: from (first halves, second halves) to neighbouring pairs.

    weight: [heads * head_size, columns]; for keys under grouped-query attention, `heads` is the number of key-value heads.
    """
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, half, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def export_gguf(model: Path, out: Path, type: str = "F16", *, name: str | None = None,
                about: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Write the model in folder `model` to the GGUF file `out`; the same folder and arguments give the same bytes.

    type: "F32", "F16" or "BF16", of the matrices; norms are F32 always. name: `general.name`, by default `out`'s stem.
    about: more of the `general.` keys, such as {"license": "mit"}. Returns {"type", "bytes", "tensors", "parameters"}.
    Raises Refusal for a folder that is not whole or a tokenizer that has no GGUF form here; UnsupportedModel for other networks.
    """
    import gguf

    model, out = Path(model), Path(out)
    if type not in FILE_TYPES:
        raise Refusal(f"{type}: not a type that export writes; use one of {', '.join(FILE_TYPES)}, and quantise() for the others")
    if not (model / "config.json").is_file():
        raise Refusal(f"{model}: no config.json in it; name a model folder in Hugging Face form")
    config = ModelConfig.from_folder(model)
    _refuse_others(model, config)
    with ExitStack() as stack:
        weights = _Weights(model, stack)
        names = list(_names(config))
        missing = [hf for _, hf in names if hf not in weights.shapes]
        if missing:
            raise Refusal(f"{model}: {len(missing)} weights are missing, first {missing[0]}; copy the folder again, whole")
        temporary = stack.enter_context(atomic(out))
        writer = gguf.GGUFWriter(temporary, "llama")
        _describe(writer, config, type, name or out.stem, about or {})
        read_vocabulary(model, config).write(writer)
        frequencies = _frequency_factors(config)
        if frequencies is not None:
            writer.add_tensor_info("rope_freqs.weight", frequencies.shape, frequencies.dtype, frequencies.nbytes)
        for ours, hf in names:
            shape = weights.shapes[hf]
            plain = len(shape) == 1 or type == "F32"
            size = int(np.prod(shape)) * (4 if plain else 2)
            # gguf takes the shape of the raw bytes where a type has no numpy form (BF16), of the elements elsewhere.
            if plain or type == "F16":
                writer.add_tensor_info(ours, shape, np.dtype(np.float32 if plain else np.float16), size)
            else:
                writer.add_tensor_info(ours, (*shape[:-1], shape[-1] * 2), np.dtype(np.uint8), size, gguf.GGMLQuantizationType.BF16)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        if frequencies is not None:
            writer.write_tensor_data(frequencies)
        for ours, hf in names:
            writer.write_tensor_data(_encoded(_placed(weights.read(hf), ours, config), type))
        writer.close()
        bytes_written = temporary.stat().st_size
    write_digest(out)
    return {"type": type, "bytes": bytes_written, "tensors": len(names) + (frequencies is not None), "parameters": config.parameters}


def _refuse_others(model: Path, config: ModelConfig) -> None:
    """GGUF's "llama" has neither biases nor norms in its attention, and sees all that came before. Mistral is it in all but the window."""
    if config.qkv_bias or config.head_norms:
        raise UnsupportedModel(f"{model}: GGUF export writes Llama and Mistral, and this is {config.family}; "
                               "convert it with llama.cpp's convert_hf_to_gguf.py")
    if config.window is not None and config.window < config.max_positions:
        raise UnsupportedModel(f"{model}: a sliding window of {config.window} has no place in GGUF's llama; in config.json set "
                               f"sliding_window to null and max_position_embeddings to {config.window}: so far the two are the same")
    if config.rope_scaling is not None and "low_freq_factor" not in config.rope_scaling:
        raise UnsupportedModel(f"{model}: GGUF export knows Llama 3's rope scaling, and this is linear; "
                               "convert it with llama.cpp's convert_hf_to_gguf.py")


class _Weights:
    """The safetensors of a folder, one file or shards, read tensor by tensor."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        from safetensors import SafetensorError, safe_open

        index = folder / "model.safetensors.index.json"
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else ["model.safetensors"]
        except (ValueError, KeyError) as error:
            raise Refusal(f"{index}: not an index of weights ({error}); copy it again") from None
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._where: dict[str, Any] = {}
        for path in (folder / name for name in names):
            try:
                shard = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise Refusal(f"{path}: cannot be read ({error}); copy it again, whole") from None
            for key in shard.keys():  # noqa: SIM118  a safetensors handle is no mapping
                self.shapes[key] = tuple(shard.get_slice(key).get_shape())
                self._where[key] = shard

    def read(self, name: str) -> Array:
        """One weight as float32."""
        array: Array = self._where[name].get_tensor(name).float().numpy()
        return array


def _names(config: ModelConfig) -> Iterator[tuple[str, str]]:
    """Every weight of the network: (GGUF's name, Hugging Face's name), in file order."""
    yield "token_embd.weight", "model.embed_tokens.weight"
    for layer in range(config.layers):
        for hf, ours in _LAYER.items():
            yield f"blk.{layer}.{ours}.weight", f"model.layers.{layer}.{hf}.weight"
    yield "output_norm.weight", "model.norm.weight"
    if not config.tied:
        yield "output.weight", "lm_head.weight"


def _placed(weight: Array, name: str, config: ModelConfig) -> Array:
    if name.endswith("attn_q.weight"):
        return interleave(weight, config.heads)
    if name.endswith("attn_k.weight"):
        return interleave(weight, config.kv_heads)
    return weight


def _encoded(weight: Array, type: str) -> Array:
    import gguf

    if weight.ndim == 1 or type == "F32":
        return np.ascontiguousarray(weight, dtype=np.float32)
    if type == "F16":
        return np.ascontiguousarray(weight.astype(np.float16))
    return gguf.quants.quantize(np.ascontiguousarray(weight), gguf.GGMLQuantizationType.BF16)


def _frequency_factors(config: ModelConfig) -> Array | None:
    """Llama 3's rescaling as llama.cpp wants it: what each rotation frequency is divided by, [head_size / 2], or None without it."""
    if config.rope_scaling is None:
        return None
    scaling = config.rope_scaling
    frequency = 1.0 / config.rope_theta ** (np.arange(0, config.head_size, 2, dtype=np.float32) / config.head_size)
    turns = scaling["original_max_position_embeddings"] * frequency / (2 * np.pi)
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / (kept + (1 - kept) / scaling["factor"])).astype(np.float32)


def _describe(writer: Any, config: ModelConfig, type: str, name: str, about: Mapping[str, str]) -> None:
    writer.add_type("model")
    writer.add_name(name)
    for key, value in sorted(about.items()):
        writer.add_string(f"general.{key}", value)
    writer.add_block_count(config.layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_file_type(FILE_TYPES[type])
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_quantization_version(2)
