"""A GGUF file of full weights made smaller: every matrix in the type that the mixture gives it, all else carried over."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from medloom.ledger import Refusal
from medloom.ledger.files import atomic
from medloom.model.gguf_file import field_value, open_gguf, write_digest

from .ggml import quantise_rows
from .mixture import BASE, FILE_TYPES, Network, tensor_type


def quantise(source: Path, out: Path, type: str, *, threads: int | None = None) -> dict[str, Any]:
    """Quantise the GGUF file `source` (F32, F16 or BF16) to `out`; the same bytes whatever the number of threads.

    type: "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M" or "Q2_K". Returns {"type", "bytes", "tensors": how many of each ggml type}.
    Raises Refusal for a file that is none, is not of the llama architecture, or is quantised already.
    """
    import gguf

    source, out = Path(source), Path(out)
    if type not in BASE:
        raise Refusal(f"{type}: not a type that quantise knows; use one of {', '.join(BASE)}")
    reader = open_gguf(source)
    if field_value(reader, "general.architecture") != "llama":
        raise Refusal(f"{source}: architecture {field_value(reader, 'general.architecture')}; only llama is known here")
    names = {tensor.name for tensor in reader.tensors}
    network = Network(layers=field_value(reader, "llama.block_count"), heads=field_value(reader, "llama.attention.head_count"),
                      kv_heads=field_value(reader, "llama.attention.head_count_kv"), tied="output.weight" not in names)
    plan = []
    for tensor in reader.tensors:
        if tensor.tensor_type.name not in ("F32", "F16", "BF16"):
            raise Refusal(f"{source}: {tensor.name} is {tensor.tensor_type.name} already; quantise from the F32, F16 or BF16 file")
        shape = tuple(int(size) for size in reversed(tensor.shape))
        plan.append((tensor, shape, gguf.GGMLQuantizationType[tensor_type(tensor.name, shape, type, network)]))
    with atomic(out) as temporary:
        writer = gguf.GGUFWriter(temporary, "llama")
        _carry(reader, writer, FILE_TYPES[type])
        for tensor, shape, kind in plan:
            bytes_shape = gguf.quant_shape_to_byte_shape(shape, kind)
            writer.add_tensor_info(tensor.name, bytes_shape, np.dtype(np.uint8), int(np.prod(bytes_shape)), kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, shape, kind in plan:
            full = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)
            writer.write_tensor_data(_encoded(full, kind, threads or os.cpu_count() or 1))
        writer.close()
        size = temporary.stat().st_size
    write_digest(out)
    return {"type": type, "bytes": size, "tensors": dict(sorted(Counter(kind.name for _, _, kind in plan).items()))}


def _encoded(full: Any, kind: Any, threads: int) -> Any:
    if kind.name == "F32":
        return np.ascontiguousarray(full, dtype=np.float32).view(np.uint8)
    if kind.name == "F16":
        return np.ascontiguousarray(full.astype(np.float16)).view(np.uint8)
    return quantise_rows(full.reshape(-1, full.shape[-1]), kind, threads)


def _carry(reader: Any, writer: Any, file_type: int) -> None:
    """All metadata of the source, in its order, but the file's type."""
    import gguf

    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the writer states these itself
        if field.name == "general.file_type":
            writer.add_file_type(file_type)
            continue
        array = field.types[0] == gguf.GGUFValueType.ARRAY
        writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1] if array else None)
