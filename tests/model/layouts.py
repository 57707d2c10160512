"""A gloo run whose ranks load, grow and save a model folder under several layouts and hold each against the plain network.

Run by test_layouts.py: python layouts.py FOLDER OUT WORLD. What is imported is shared by the ranks, which are forked from it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.placement_types import _StridedShard
from torch.multiprocessing import start_processes

from medloom.model import Llama, ModelConfig, Part, load_weights, save_model
from medloom.model.share import local, runs
from medloom.model.stored import Stored

ROOM = 128  # rows of the tables, where the folder has fewer


def empty(config: ModelConfig, part: Part | None = None) -> Llama:
    with torch.device("meta"):
        model = Llama(config, part)
    return model.to_empty(device="cpu")


def tensor_parallel(model: Llama, mesh: DeviceMesh) -> Llama:
    for path, module in model.named_modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            columns = path.endswith(("o_proj", "down_proj"))
            placement = Replicate() if path.endswith("norm") else Shard(1 if columns else 0)
            module.register_parameter(name, nn.Parameter(distribute_tensor(weight.detach(), mesh, [placement])))
    return model


def sharded(model: Llama, mesh: DeviceMesh) -> Llama:
    for block in model.model.layers.values():
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def halves(config: ModelConfig, half: int) -> Llama:
    middle = config.layers // 2
    return empty(config, Part(middle, config.layers, embeds=False) if half else Part(0, middle, scores=False))


def mesh(**axes: int) -> DeviceMesh:
    return init_device_mesh("cpu", tuple(axes.values()), mesh_dim_names=tuple(axes))


def data_tensor(config: ModelConfig) -> Llama:
    both = mesh(dp=2, tp=2)
    return sharded(tensor_parallel(empty(config), both["tp"]), both["dp"])


def replicated_sharded_tensor(config: ModelConfig) -> Llama:
    three = mesh(replicate=1, shard=2, tp=2)
    return sharded(tensor_parallel(empty(config), three["tp"]), three["replicate", "shard"])


def pipeline_data(config: ModelConfig) -> Llama:
    both = mesh(pp=2, dp=2)
    return sharded(halves(config, both.get_local_rank("pp")), both["dp"])


LAYOUTS: dict[int, dict[str, Callable[[ModelConfig], Llama]]] = {
    2: {"data": lambda config: sharded(empty(config), mesh(dp=2)),
        "tensor": lambda config: tensor_parallel(empty(config), mesh(tp=2)),
        "pipeline": lambda config: halves(config, dist.get_rank())},
    4: {"uneven": lambda config: sharded(empty(config), mesh(dp=4)),
        "hybrid": lambda config: sharded(empty(config), mesh(replicate=2, shard=2)),
        "data-tensor": data_tensor,
        "three": replicated_sharded_tensor,
        "pipeline-data": pipeline_data},
}


def check_strided(folder: Path) -> None:
    """A strided shard alone, as FSDP gives beside no other: rank 0 of 2 has the first half of each half."""
    axis, name = mesh(dp=2), "model.layers.0.mlp.down_proj.weight"
    with Stored(folder) as stored:
        full = stored.read(name)
        quarters = full.chunk(4)
        mine = torch.cat([quarters[dist.get_rank()], quarters[dist.get_rank() + 2]])
        shared = DTensor.from_local(torch.zeros_like(mine), axis, [_StridedShard(0, split_factor=2)],
                                    shape=full.shape, stride=full.stride())
        pieces = list(runs(shared))
        assert len(pieces) == 2
        for there, here in pieces:
            local(shared)[here] = stored.read(name, *there)
    assert torch.equal(local(shared), mine)


def check(name: str, build: Callable[[ModelConfig], Llama], folder: Path, out: Path) -> None:
    config = ModelConfig.from_folder(folder)
    counted = [0]
    plain_read = Stored.read

    def read(self: Stored, name: str, *where: slice) -> torch.Tensor:
        tensor = plain_read(self, name, *where)
        counted[0] += tensor.numel()
        return tensor

    Stored.read = read  # type: ignore[method-assign]
    model = build(config)
    load_weights(model, folder)
    Stored.read = plain_read  # type: ignore[method-assign]
    assert counted[0] == sum(local(weight).numel() for weight in model.parameters()), f"{name}: more is read than a rank's share"
    tensors: Any
    with safe_open(folder / "model.safetensors", framework="pt") as tensors:
        for key, weight in model.named_parameters():
            assert torch.equal(weight.full_tensor() if isinstance(weight, DTensor) else weight, tensors.get_tensor(key)), f"{name}: {key}"
    save_model(model, out / f"{name}-same", like=folder, dtype="float32", shard_bytes=20_000)

    larger = config.padded(ROOM)
    alone, model = empty(larger), build(larger)
    load_weights(alone, folder, seed=5)
    load_weights(model, folder, seed=5)
    expected = dict(alone.named_parameters())
    for key, weight in model.named_parameters():
        assert torch.equal(weight.full_tensor() if isinstance(weight, DTensor) else weight, expected[key]), f"{name}: {key}"
    save_model(model, out / f"{name}-cut", like=folder, dtype="float32", vocabulary=config.vocab_size)


def main(rank: int, folder: Path, out: Path, world: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out / 'meeting'}", rank=rank, world_size=world)
    for name, build in LAYOUTS[world].items():
        check(name, build, folder, out)
    if world == 2:
        check_strided(folder)
    dist.destroy_process_group()


if __name__ == "__main__":
    ranks = int(sys.argv[3])
    start_processes(main, (Path(sys.argv[1]), Path(sys.argv[2]), ranks), ranks, start_method="fork")
