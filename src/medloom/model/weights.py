"""Weights from and to Hugging Face folders: config.json, safetensors in one file or in shards, the tokenizer's files.

Parameter names are Hugging Face's, so nothing is renamed. Pickled weights (.bin, .pth) are refused: reading them can run
code that their author chose.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..ledger import Refusal
from ..ledger.files import atomic, read_json, write_json
from .config import ModelConfig
from .llama import Llama
from .tokenizer import carry_tokenizer

SHARD_BYTES = 5_000_000_000


def load_model(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Llama:
    """The network of a Hugging Face folder, its weights cast to `dtype` on `device`."""
    folder = Path(folder)
    with torch.device("meta"):
        model = Llama(ModelConfig.from_folder(folder))
    model = model.to(dtype).to_empty(device=device)
    load_weights(model, folder)
    return model.eval()


def load_weights(model: Llama, folder: Path) -> None:
    """PROVISIONAL."""
    from torch.distributed.tensor import DTensor, distribute_tensor
    wanted = dict(model.named_parameters())
    missing = set(wanted)
    for path in _weight_files(folder):
        with safe_open(path, framework="pt", device="cpu") as tensors:
            for name in tensors.keys():
                if name in wanted:
                    parameter, tensor = wanted[name], tensors.get_tensor(name)
                    with torch.no_grad():
                        if isinstance(parameter, DTensor):
                            parameter.copy_(distribute_tensor(tensor.to(parameter.dtype), parameter.device_mesh, parameter.placements))
                        else:
                            parameter.copy_(tensor)
                    missing.discard(name)
    assert not missing, missing


def save_model(model: Llama, folder: Path, *, like: Path | None, dtype: str = "bfloat16") -> None:
    """Write a Hugging Face folder: config.json, generation_config.json, model.safetensors (sharded above 5 GB), and from
    `like` the tokenizer's and licence files. The same weights give the same bytes. `dtype`: float32, float16 or bfloat16.
    """
    target = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype]
    folder.mkdir(parents=True, exist_ok=True)
    old = read_json(like / "config.json") if like is not None else {}
    # Llama 3 ends on any of several tokens; the network needs one, the folder keeps them all.
    kept = {key: old[key] for key in ("eos_token_id", "pad_token_id", "initializer_range") if key in old}
    config: dict[str, Any] = model.config.to_hugging_face(dtype) | kept
    if like is not None:
        carry_tokenizer(like, folder)
    generation = read_json(like / "generation_config.json") if like is not None else {}
    fresh: dict[str, Any] = {"_from_model_config": True, "bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    write_json(folder / "generation_config.json", generation or fresh)
    _save_weights(model, folder, target)
    write_json(folder / "config.json", config)


def _save_weights(model: Llama, folder: Path, dtype: torch.dtype) -> None:
    shards: list[list[tuple[str, torch.Tensor]]] = [[]]
    size = 0
    for name, weight in model.named_parameters():
        nbytes = weight.numel() * dtype.itemsize
        if size + nbytes > SHARD_BYTES and shards[-1]:
            shards.append([])
            size = 0
        shards[-1].append((name, weight))
        size += nbytes
    names = ["model.safetensors"] if len(shards) == 1 else \
        [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        with atomic(folder / name) as temporary:
            # One shard at a time is copied, so the peak is the model and one shard.
            save_file({key: weight.detach().to("cpu", dtype).contiguous() for key, weight in shard}, temporary, metadata={"format": "pt"})
            temporary.chmod(0o644)  # safetensors leaves its files to their owner alone
    if len(shards) > 1:
        total = sum(weight.numel() * dtype.itemsize for weight in model.parameters())
        write_json(folder / "model.safetensors.index.json", {
            "metadata": {"total_size": total},
            "weight_map": {key: name for name, shard in zip(names, shards, strict=True) for key, _ in shard}})


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = [folder / name for name in sorted(set(read_json(index).get("weight_map", {}).values()))]
        for path in files:
            if not path.is_file():
                raise Refusal(f"{path}: named by {index.name} and not there; fetch the missing shard")
        return files
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    pickled = sorted(path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern))
    if pickled:
        raise Refusal(f"{folder}: only pickled weights ({_few(pickled)}), which can run code when read; "
                      "save them as safetensors where you trust them")
    raise Refusal(f"{folder}: no weights (model.safetensors, or shards with model.safetensors.index.json)")


def _fill(parameter: torch.nn.Parameter, tensor: torch.Tensor, path: Path, name: str) -> None:
    if tensor.shape != parameter.shape:
        raise Refusal(f"{path}: {name} has shape {list(tensor.shape)} where config.json asks for {list(parameter.shape)}")
    with torch.no_grad():
        parameter.copy_(tensor)


def _redundant(name: str, names: list[str], tensors: Any, config: ModelConfig) -> bool:
    """Keys that old folders carry and the network computes or shares: rotary tables, and a tied head equal to the embedding."""
    if name.endswith("rotary_emb.inv_freq"):
        return True
    embedding = "model.embed_tokens.weight"
    if name != "lm_head.weight" or not config.tied or embedding not in names:
        return False
    return torch.equal(tensors.get_tensor(name), tensors.get_tensor(embedding))


def _few(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
