"""A model folder with its weights in 4 or 8 bits for vLLM: compressed-tensors' `pack-quantized` form, rounded to nearest.

The form is that of the `compressed-tensors` package, which vLLM reads and the package itself writes here: a linear layer's weights become
whole numbers, 32 / bits to an int32, and a scale for each group of 128 in a row. Only the weights; what flows between layers stays
bfloat16. Embeddings, norms and the head are left as they are. No data is looked at, so it is for the types whose loss is small anyway:
the gate tells by how much. https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from medloom.ledger import Progress, Refusal, Silent
from medloom.ledger.files import atomic, read_json, write_json
from medloom.model import ModelConfig, carry_tokenizer, weight_shapes
from medloom.model.stored import INDEX, SINGLE, Stored
from medloom.model.weights import SHARD_BYTES

SCHEMES = ("W4A16", "W8A16")
GROUPS = (128, 64, 32)  # the sizes that vLLM's kernels on processors know; the first that divides every row is taken
_ROWS = 1 << 24  # weights rounded at once
_GROUP_NAME = "group_0"


def export_compressed(model: Path, out: Path, scheme: str = "W4A16", *, shard_bytes: int = SHARD_BYTES,
                      progress: Progress | None = None) -> dict[str, Any]:
    """Write the model in folder `model` to the folder `out`, which must be new or empty, in a form that vLLM loads.

    scheme: "W4A16" (4-bit weights) or "W8A16" (8-bit). The same folder gives the same bytes; one shard is in memory at a time.
    Returns {"type", "bytes": of the weights' files, "group", "tensors": {"packed", "plain"}}. Raises Refusal where the
    compressed-tensors package is not installed, rows are not whole groups, or the folder is not whole.
    """
    model, out = Path(model), Path(out)
    if scheme not in SCHEMES:
        raise Refusal(f"{scheme}: not a scheme that is written here; use one of {', '.join(SCHEMES)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Refusal(f"{out}: is not empty; name a new folder")
    config = ModelConfig.from_folder(model)
    shapes = weight_shapes(config)
    packed = {name for name in shapes if ".layers." in name and name.endswith("_proj.weight")}
    columns = {shapes[name][1] for name in packed}
    group = next((size for size in GROUPS if all(count % size == 0 for count in columns)), None)
    if group is None:
        raise Refusal(f"{model}: rows of {', '.join(map(str, sorted(columns)))} weights are not whole groups of {GROUPS[-1]}; "
                      "export it as GGUF, whose types fall back where rows do not fit")
    rule, settings = _settings(scheme, group)
    out.mkdir(parents=True, exist_ok=True)
    with Stored(model) as stored, (progress or Silent()).task(f"pack {scheme}", len(shapes), "tensors") as task:
        missing = [name for name in shapes if name not in stored.shapes]
        if missing:
            raise Refusal(f"{model}: {len(missing)} weights are missing, first {missing[0]}; copy the folder again, whole")

        def tensors() -> Iterator[tuple[str, Tensor]]:
            for name in shapes:
                weight = stored.read(name)
                yield from _packed(name, weight, rule) if name in packed else ((name, weight.to(torch.bfloat16)),)
                task.advance(1)

        size = _write_shards(tensors(), out, shard_bytes)
    carry_tokenizer(model, out)
    if (model / "generation_config.json").is_file():
        with atomic(out / "generation_config.json") as temporary:
            shutil.copyfile(model / "generation_config.json", temporary)
    content = read_json(model / "config.json")
    write_json(out / "config.json", content | {"dtype": "bfloat16", "torch_dtype": "bfloat16", "quantization_config": settings})
    return {"type": scheme, "bytes": size, "group": group, "tensors": {"packed": len(packed), "plain": len(shapes) - len(packed)}}


def _settings(scheme: str, group: int) -> tuple[Any, dict[str, Any]]:
    """compressed-tensors' QuantizationScheme, and what config.json says of it."""
    try:
        import compressed_tensors
        from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus, preset_name_to_scheme
    except ImportError as error:
        raise Refusal(f"compressed-tensors cannot be loaded ({error}); install it with `pip install medloom[vllm-export]`") from None
    rule = preset_name_to_scheme(scheme, ["Linear"])
    rule.weights.group_size, rule.format = group, "pack-quantized"
    whole = QuantizationConfig(config_groups={_GROUP_NAME: rule}, format="pack-quantized", ignore=["lm_head"],
                               quantization_status=QuantizationStatus.COMPRESSED)
    settings: dict[str, Any] = whole.model_dump(mode="json")
    return rule, settings | {"version": compressed_tensors.__version__}


def _packed(name: str, weight: Tensor, rule: Any) -> Iterator[tuple[str, Tensor]]:
    """What takes the place of a linear layer's weight [rows, columns]: whole numbers, a scale a group, and the shape."""
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization.utils import calculate_qparams

    group, step = rule.weights.group_size, max(1, _ROWS // weight.shape[1])
    numbers, scales = [], []
    for part in torch.split(weight, step):
        part = part.float()
        grouped = part.view(part.shape[0], -1, group)
        scale, _ = calculate_qparams(grouped.amin(-1), grouped.amax(-1), rule.weights)
        scale = scale.to(torch.bfloat16)  # as it is kept; numbers are rounded by what will be multiplied back
        made = PackedQuantizationCompressor.compress({"weight": part, "weight_scale": scale.float()}, rule)
        numbers.append(made["weight_packed"])
        scales.append(scale)
    yield f"{name}_packed", torch.cat(numbers)
    yield f"{name}_scale", torch.cat(scales)
    yield f"{name}_shape", torch.tensor(weight.shape)


def _write_shards(tensors: Iterator[tuple[str, Tensor]], folder: Path, shard_bytes: int) -> int:
    """Write the tensors in their order; bytes of all files."""
    shards: list[dict[str, int]] = []  # sizes by name
    held: dict[str, Tensor] = {}

    def flush() -> None:
        with atomic(folder / _waiting(len(shards))) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in held.items()}, temporary, metadata={"format": "pt"})
            temporary.chmod(0o644)  # safetensors leaves its files to their owner alone
        shards.append({name: tensor.nbytes for name, tensor in held.items()})
        held.clear()

    for name, tensor in tensors:
        if held and sum(each.nbytes for each in held.values()) + tensor.nbytes > shard_bytes:
            flush()
        held[name] = tensor
    flush()
    # How many there are shows only at the end, and is part of each one's name.
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    names = [SINGLE] if len(shards) == 1 else names
    for number, name in enumerate(names):
        (folder / _waiting(number)).rename(folder / name)
    if len(names) > 1:
        write_json(folder / INDEX, {"metadata": {"total_size": sum(sum(sizes.values()) for sizes in shards)},
                                    "weight_map": {name: file for file, sizes in zip(names, shards, strict=True) for name in sizes}})
    return sum((folder / name).stat().st_size for name in names)


def _waiting(number: int) -> str:
    return f"shard-{number}.safetensors"
