"""A GGUF file of the llama architecture as a Hugging Face folder: the way back from `export_gguf`, for anyone's file.

Weights are dequantised by the `gguf` package. What quantisation took away does not come back: the folder holds the numbers that llama.cpp
computes with, which is what one wants to evaluate, to convert or, for lack of the original, to train on.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medloom.ledger import Progress, Refusal, Silent
from medloom.ledger.files import read_json, write_json
from medloom.ledger.progress import Task
from medloom.model import ModelConfig, save_weights, weight_shapes
from medloom.model.gguf_file import gguf_digest, open_gguf
from medloom.model.gguf_head import Head, TensorInfo
from medloom.model.llama import rope_frequencies

from ..full.export import tensor_names
from .tokenizer import Listed, write_tokenizer

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
NOTE = "made-from.json"
_FREQUENCIES = "rope_freqs.weight"
_BLOCK = 1 << 22  # weights dequantised at once, by one thread


def import_gguf(source: Path, out: Path, dtype: str = "bfloat16", *, progress: Progress | None = None) -> dict[str, Any]:
    """Write the model in the GGUF file `source` to the folder `out`, with its tokenizer, its chat template and a note of what it was made
    from; the same file gives the same bytes. One shard of weights is in memory at a time.

    Returns {"file", "sha256", "bytes", "type", "tensors": how many of each ggml type, "dtype", "parameters"}, which is the note, too.
    Raises Refusal for a file that `open_gguf` refuses, of another architecture, or with a rope scaling, a tokenizer or tensors that
    have no equal form here, and where there is something in `out`.
    """
    source, out = Path(source), Path(out)
    if dtype not in DTYPES:
        raise Refusal(f"dtype {dtype}: choose {', '.join(DTYPES)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refusal(f"{out}: is not empty; name a new folder")
    head = open_gguf(source)
    tensors = {tensor.name: tensor for tensor in head.tensors}
    config = _config(head, tensors)
    _check_tensors(source, tensors, config)
    note = {"file": source.name, "sha256": gguf_digest(source), "bytes": source.stat().st_size, "type": _type(head),
            "tensors": dict(sorted(Counter(tensor.type_name for tensor in head.tensors).items())), "dtype": dtype,
            "parameters": config.parameters}
    about = {key: head.value(f"general.{key}") for key in ("name", "license", "license.link", "source.url")}
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        listed = write_tokenizer(head, temporary)
        if len(listed.tokens) > config.vocab_size:
            raise Refusal(f"{source}: {len(listed.tokens)} tokens, but {config.vocab_size} rows of embeddings; convert it again, whole")
        write_json(temporary / NOTE, note | {"about": {key: value for key, value in about.items() if value is not None}})
        bar = (progress or Silent()).task(f"import {source.name}", len(tensors), "tensors")
        with bar as task, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            save_weights(_Restored(source, tensors, config, DTYPES[dtype], task, pool), config, temporary, like=None, dtype=dtype)
        _write_ends(temporary, listed)
        temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return note


def _config(head: Head, tensors: Mapping[str, TensorInfo]) -> ModelConfig:
    """The network's shape. Raises Refusal where the file describes another network than the Llama family's."""
    path = head.path

    def value(key: str, default: Any = None) -> Any:
        found = head.value(f"llama.{key}")
        if isinstance(found, list):
            if len(set(found)) != 1:
                raise Refusal(f"{path}: {key} is not the same in all layers, which no network here has")
            found = found[0]
        if found is None and default is None:
            raise Refusal(f"{path}: says nothing of llama.{key}; convert it again with a newer converter")
        return default if found is None else found

    architecture = head.value("general.architecture")
    if architecture != "llama":
        raise Refusal(f"{path}: architecture {architecture}; import knows llama, which Llama and Mistral files are")
    if value("expert_count", 0):
        raise Refusal(f"{path}: a mixture of {value('expert_count')} experts, which no network here is")
    if (head.value("split.count") or 1) > 1:
        raise Refusal(f"{path}: one of {head.value('split.count')} parts; join them first with llama-gguf-split --merge")
    if "token_embd.weight" not in tensors:
        raise Refusal(f"{path}: holds no embeddings, so it is a vocabulary or a part of a model; name the whole model's file")
    heads, hidden = int(value("attention.head_count")), int(value("embedding_length"))
    size = int(value("attention.key_length", hidden // heads))
    if {int(value("attention.value_length", size)), int(value("rope.dimension_count", size))} != {size}:
        raise Refusal(f"{path}: keys, values and rotations are not of one size, as in every network here they are")
    special = {name: head.value(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos")}
    config = ModelConfig(
        vocab_size=int(tensors["token_embd.weight"].shape[0]), hidden_size=hidden, intermediate_size=int(value("feed_forward_length")),
        layers=int(value("block_count")), heads=heads, kv_heads=int(value("attention.head_count_kv", heads)),
        max_positions=int(value("context_length")), norm_eps=_decimal(value("attention.layer_norm_rms_epsilon")),
        rope_theta=_decimal(value("rope.freq_base", 10_000.0)), tied="output.weight" not in tensors, head_size=size,
        bos_id=special["bos"], eos_id=special["eos"])
    return replace(config, rope_scaling=_scaling(head, config, tensors))


def _decimal(value: float) -> float:
    """The shortest decimal that float32 holds as this value: 1e-05 and not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _scaling(head: Head, config: ModelConfig, tensors: Mapping[str, TensorInfo]) -> dict[str, float] | None:
    """How positions are stretched. A file says Llama 3's way by its result alone, a divisor for each frequency."""
    path = head.path
    kind, factor = (head.value(f"llama.rope.scaling.{key}") for key in ("type", "factor"))
    if kind not in (None, "none", "linear"):
        raise Refusal(f"{path}: rope scaling {kind!r}; import knows linear and Llama 3's")
    old = head.value("llama.rope.scale_linear")
    linear = float(factor or 1) if kind == "linear" else float(old or 1)
    if _FREQUENCIES not in tensors:
        return None if linear == 1 else {"factor": linear}
    divisors = torch.from_numpy(_dequantised(path, tensors[_FREQUENCIES], 0, 1)[0])
    plain = rope_frequencies(config)
    if divisors.shape == plain.shape and linear == 1:
        if bool((divisors == 1).all()):
            return None
        # Only the ratios of the two bounds and the length show; every Llama 3 has 1 and 4, and lengths are powers of two.
        for length in (8192, *(1 << power for power in range(4, 24))):
            scaling = {"factor": float(divisors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": float(length)}
            if torch.allclose(plain / rope_frequencies(replace(config, rope_scaling=scaling)), divisors, rtol=1e-4, atol=0):
                return scaling
    raise Refusal(f"{path}: {_FREQUENCIES} is not Llama 3's rope scaling with the bounds 1 and 4, so config.json has no words for it")


def _check_tensors(path: Path, tensors: Mapping[str, TensorInfo], config: ModelConfig) -> None:
    """Refuse a file whose tensors are not, name by name and shape by shape, those of the network that it describes."""
    names, shapes = dict(tensor_names(config)), weight_shapes(config)
    unknown = sorted(tensors.keys() - names.keys() - {_FREQUENCIES})
    missing = sorted(names.keys() - tensors.keys())
    wrong = [ours for ours, hf in names.items() if ours in tensors and tensors[ours].shape != shapes[hf]]
    for faults, what in ((missing, "are missing"), (unknown, "have no place in a Llama"), (wrong, "have another shape than it says")):
        if faults:
            raise Refusal(f"{path}: {len(faults)} tensors {what}, first {faults[0]}; import knows whole files of plain Llama networks")
    for tensor in {tensor.type: tensor for tensor in tensors.values()}.values():
        _dequantised(path, tensor, 0, 1)


def _dequantised(path: Path, tensor: TensorInfo, first: int, last: int) -> NDArray[np.float32]:
    """Rows [first, last) of a tensor as float32, [last - first, columns]."""
    import gguf

    row = tensor.size // tensor.rows
    data = np.fromfile(path, np.uint8, (last - first) * row, offset=tensor.start + first * row).reshape(last - first, row)
    try:
        found = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(tensor.type))
    except NotImplementedError:
        raise Refusal(f"{path}: {tensor.name} is {tensor.type_name}, which the gguf package does not dequantise") from None
    return np.require(found, np.float32, "W")


class _Restored(Mapping[str, Tensor]):
    """The weights by Hugging Face's names, each dequantised and put in Hugging Face's order when it is asked for."""

    def __init__(self, path: Path, tensors: Mapping[str, TensorInfo], config: ModelConfig, dtype: torch.dtype, task: Task,
                 pool: ThreadPoolExecutor) -> None:
        self._path, self._config, self._dtype, self._task, self._pool = path, config, dtype, task, pool
        self._tensors = {hf: tensors[ours] for ours, hf in tensor_names(config)}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        out = torch.empty((tensor.rows, tensor.columns), dtype=self._dtype)
        step = max(1, _BLOCK // tensor.columns)

        def fill(first: int) -> None:
            last = min(first + step, tensor.rows)
            out[first:last] = torch.from_numpy(_dequantised(self._path, tensor, first, last))

        list(self._pool.map(fill, range(0, tensor.rows, step)))
        if not bool(out.isfinite().all()):
            raise Refusal(f"{self._path}: {tensor.name} holds numbers that are none, or that {str(self._dtype)[6:]} cannot hold; "
                          "take --dtype bfloat16, or copy the file again")
        heads = self._config.heads if ".q_proj." in name else self._config.kv_heads if ".k_proj." in name else 0
        if heads:  # llama.cpp rotates neighbouring rows, Hugging Face halves of a head
            out = out.view(heads, -1, 2, tensor.columns).transpose(1, 2)
        self._task.advance(1)
        return out.reshape(tensor.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _write_ends(folder: Path, listed: Listed) -> None:
    """Have generation stop at every token that the file says ends an answer."""
    ends = list(dict.fromkeys(listed.special[name] for name in ("eos", "eot", "eom") if name in listed.special))
    pad = {"pad_token_id": listed.special["pad"]} if "pad" in listed.special else {}
    if len(ends) > 1 or pad:
        path = folder / "generation_config.json"
        write_json(path, read_json(path) | {"eos_token_id": ends if len(ends) > 1 else ends[0]} | pad)


def _type(head: Head) -> str:
    """The file's type as its name says it, such as Q4_K_M."""
    import gguf

    number = head.value("general.file_type")
    try:
        return str(gguf.LlamaFileType(number).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return "unknown"
