"""Weights from and to Hugging Face folders: config.json, safetensors in one file or in shards, the tokenizer's files.

Parameter names are Hugging Face's, so nothing is renamed. A rank of a distributed run reads its own share of each tensor and no more;
a model that lies on many ranks is written tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch import distributed as dist

from ..ledger import Refusal
from ..ledger.files import atomic, read_json, write_json
from .config import ModelConfig
from .grow import new_rows
from .llama import Llama, Part
from .share import Slices, local, runs, whole
from .stored import INDEX, SINGLE, Stored
from .tokenizer import carry_tokenizer

SHARD_BYTES = 5_000_000_000
TABLES = ("model.embed_tokens.weight", "lm_head.weight")  # a row a token
LAYER = "model.layers.0."
LISTED = 12  # of the names that do not fit, shown in a refusal


def load_model(folder: Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, part: Part | None = None) -> Llama:
    """The network of a Hugging Face folder, or a part of it, its weights cast to `dtype` on `device`. Raises as `load_weights` does."""
    folder = Path(folder)
    config = ModelConfig.from_folder(folder)
    with torch.device("meta"):
        model = Llama(config, part)
    model = model.to(dtype).to_empty(device=device)
    load_weights(model, folder)
    return model.eval()


def load_weights(model: Llama, folder: Path, *, vocabulary: int | None = None, seed: int = 0) -> None:
    """Fill the parameters of a network, or of a part of one, from a Hugging Face folder; each rank reads its share of each tensor.

    Parameters, in memory already, may be plain or DTensors of any placements; no rank waits for another. Adapters (`*.lora_A` and
    the like) are left as they are. The model's vocabulary may be larger than the folder's: the rows
    that are missing are drawn from `seed`, as `grow.new_rows` says. So are those from `vocabulary` on, for a folder that holds rows
    which belong to no token. Raises Refusal, with a table, where the folder's weights do not cover the whole network exactly.
    """
    folder = Path(folder)
    rows = min(ModelConfig.from_folder(folder).vocab_size, model.config.vocab_size)
    own = {name: weight for name, weight in model.named_parameters() if not is_adapter(name)}
    with Stored(folder) as stored, torch.no_grad():
        _check_coverage(folder, stored, replace(model.config, vocab_size=rows), own)
        known = min(rows, vocabulary or rows)
        for name, weight in own.items():
            for there, here in runs(weight):
                _fill(local(weight)[here], stored, name, there, known if name in TABLES else weight.shape[0], seed)


def _fill(target: Tensor, stored: Stored, name: str, there: Slices, known: int, seed: int) -> None:
    """Fill what lies at `there` in the whole tensor: from the folder, and by drawing its rows from `known` on."""
    rows, columns = there[0], there[1:]
    cut = min(max(known, rows.start), rows.stop)
    if rows.start < cut:
        target[:cut - rows.start].copy_(stored.read(name, slice(rows.start, cut), *columns))
    if cut < rows.stop:
        fresh = new_rows(lambda begin, end: stored.read(name, slice(begin, end)), known, cut, rows.stop, seed)
        target[cut - rows.start:].copy_(fresh[:, *columns])


def _check_coverage(folder: Path, stored: Stored, config: ModelConfig, own: Mapping[str, Tensor]) -> None:
    """Refuse where what is stored is not, name by name and shape by shape, what the whole network needs, other parts' weights too."""
    wanted = weight_shapes(config)
    wanted |= {name: tuple(weight.shape) for name, weight in own.items() if name not in wanted}
    faults = [("missing", name, str(list(shape))) for name, shape in wanted.items() if name not in stored.shapes]
    faults += [("unexpected", name, str(list(shape))) for name, shape in sorted(stored.shapes.items())
               if name not in wanted and not is_redundant(name, stored, config)]
    faults += [("misshapen", name, f"{list(stored.shapes[name])} where {list(shape)} is asked for")
               for name, shape in wanted.items() if stored.shapes.get(name, shape) != shape]
    if faults:
        width = max(len(name) for _, name, _ in faults[:LISTED])
        lines = [f"  {kind:<10}  {name:<{width}}  {shape}" for kind, name, shape in faults[:LISTED]]
        more = [f"  and {len(faults) - LISTED} more"] if len(faults) > LISTED else []
        raise Refusal("\n".join([f"{folder}: the weights do not cover the model that its config.json describes; fetch the folder again, "
                                 "or the config.json that belongs to it", *lines, *more]))


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a network by its name, in the network's order."""
    with torch.device("meta"):
        one = [(name, tuple(weight.shape)) for name, weight in Llama(replace(config, layers=1)).named_parameters()]
    shapes: dict[str, tuple[int, ...]] = {}
    # All layers are alike, so that one tells of all: a network of 80 is not built, not even without memory, for its names.
    for layered, weights in groupby(one, key=lambda weight: weight[0].startswith(LAYER)):
        several = list(weights)
        for layer in range(config.layers if layered else 1):
            shapes |= {name.replace(LAYER, LAYER.replace("0", str(layer)), 1): shape for name, shape in several}
    return shapes


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter, ours or peft's, and not to the network below."""
    return ".lora_" in name


def is_redundant(name: str, stored: Stored, config: ModelConfig) -> bool:
    """Keys that old folders carry and the network computes or shares: rotary tables, and a tied head equal to the embedding."""
    if name.endswith("rotary_emb.inv_freq"):
        return True
    embedding, head = TABLES
    return name == head and config.tied and embedding in stored.shapes and torch.equal(stored.read(head), stored.read(embedding))


def save_model(model: Llama | Sequence[Llama], folder: Path, *, like: Path | None, dtype: str = "bfloat16", vocabulary: int | None = None,
               shard_bytes: int = SHARD_BYTES) -> None:
    """Write a Hugging Face folder: config.json, generation_config.json, model.safetensors (in shards above `shard_bytes`), and from
    `like` the tokenizer's and licence files. The same weights in the same layout give the same bytes.

    Under torch.distributed every rank calls it with its own part, or parts, of the network, and a folder that all of them see; each
    tensor is gathered in turn and written by the lowest rank that holds it, which has one shard in memory beside its share of the
    model. `dtype`: float32, float16 or bfloat16. `vocabulary` leaves out the rows from there on, which pad the tables.
    Raises ValueError where the parts are not the whole network, or hold adapters, which must be merged before.
    """
    parts = [model] if isinstance(model, Llama) else list(model)
    config = replace(parts[0].config, vocab_size=vocabulary or parts[0].config.vocab_size)
    if config.vocab_size > parts[0].config.vocab_size:
        raise ValueError(f"vocabulary = {vocabulary} is more than the {parts[0].config.vocab_size} rows that the model has")
    own = {name: weight.detach() for part in parts for name, weight in part.named_parameters()}
    save_weights(own, config, folder, like=like, dtype=dtype, shard_bytes=shard_bytes)


def save_weights(own: Mapping[str, Tensor], config: ModelConfig, folder: Path, *, like: Path | None, dtype: str,
                 shard_bytes: int = SHARD_BYTES) -> None:
    """`save_model` for weights by name, each of which is asked for once and may be made then: one shard of them is in memory at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    index = _save_shards(own, folder, {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype],
                         config, shard_bytes)
    if _rank() == 0:
        old = read_json(like / "config.json") if like is not None else {}
        # Llama 3 ends on any of several tokens; the network needs one, the folder keeps them all.
        kept = {key: old[key] for key in ("eos_token_id", "pad_token_id", "initializer_range") if key in old}
        content: dict[str, Any] = config.to_hugging_face(dtype) | kept
        if like is not None:
            carry_tokenizer(like, folder)
        generation = read_json(like / "generation_config.json") if like is not None else {}
        fresh = {"_from_model_config": True, **{key: content[key] for key in ("bos_token_id", "eos_token_id")}}
        write_json(folder / "generation_config.json", generation or fresh)
        _write_index(folder, index)
        write_json(folder / "config.json", content)
    _wait()


@dataclass
class _Shard:
    """A file to be: the rank that writes it, and its tensors' names and bytes."""

    writer: int
    names: list[str] = field(default_factory=list)
    bytes: int = 0


def _save_shards(own: Mapping[str, Tensor], folder: Path, dtype: torch.dtype, config: ModelConfig, shard_bytes: int) -> dict[str, Any]:
    """Write the shards and return their index, the same on every rank, once all of them are there."""
    shapes = weight_shapes(config)
    shards = _plan(shapes, _writers(own, shapes), dtype, shard_bytes)
    files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    files = [SINGLE] if len(shards) == 1 else files
    for file, shard in zip(files, shards, strict=True):
        gathered = {}
        for name in shard.names:
            if name in own:
                tensor = whole(own[name])
                if shard.writer == _rank():
                    gathered[name] = tensor[:shapes[name][0]].to("cpu", dtype).contiguous()
                del tensor
        if gathered:
            with atomic(folder / file) as temporary:
                save_file(gathered, temporary, metadata={"format": "pt"})
                temporary.chmod(0o644)  # safetensors leaves its files to their owner alone
    _wait()
    return {"metadata": {"total_size": sum(shard.bytes for shard in shards)},
            "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard.names}}


def _writers(own: Mapping[str, Tensor], shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The lowest rank that holds each of the network's tensors."""
    held: list[list[str] | None] = [list(own)]
    if dist.is_initialized():
        held = [None] * dist.get_world_size()
        dist.all_gather_object(held, list(own))
    writers = {name: rank for rank in reversed(range(len(held))) for name in held[rank] or ()}
    odd = sorted(writers.keys() ^ shapes.keys())
    if odd:
        raise ValueError(f"{len(odd)} tensors are not held, or no weights of the network, first {odd[0]}; every rank saves all its parts "
                         "at once, adapters merged")
    return writers


def _plan(shapes: dict[str, tuple[int, ...]], writers: dict[str, int], dtype: torch.dtype, shard_bytes: int) -> list[_Shard]:
    """Shards in the order of the network: a new one where the next tensor would not fit, or another rank writes it."""
    shards: list[_Shard] = []
    for name, shape in shapes.items():
        size = torch.Size(shape).numel() * dtype.itemsize
        if not shards or shards[-1].writer != writers[name] or shards[-1].bytes + size > shard_bytes:
            shards.append(_Shard(writers[name]))
        shards[-1].names.append(name)
        shards[-1].bytes += size
    return shards


def _write_index(folder: Path, index: dict[str, Any]) -> None:
    """Write the index of the shards, and take away what weights lay in the folder before, which a reader would find first."""
    files = set(index["weight_map"].values())
    if len(files) > 1:
        write_json(folder / INDEX, index)
    else:
        (folder / INDEX).unlink(missing_ok=True)
    for path in {folder / SINGLE, *folder.glob("model-*-of-*.safetensors")}:
        if path.name not in files:
            path.unlink(missing_ok=True)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()
