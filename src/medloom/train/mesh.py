"""The processes of a run and how they stand to each other: one grid of pipeline x replicate x shard x tensor, on any backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from ..ledger import Refusal
from ..recipe import Layout

DATA = ("replicate", "shard")  # the axes along which ranks read different rows
AXES = ("pipeline", *DATA, "tensor")
PATIENCE = timedelta(minutes=10)  # a rank that waits longer for another takes it for dead


@dataclass(frozen=True)
class Ranks:
    """This process among those of a layout. Without a mesh it is alone, and every collective below is the identity."""

    layout: Layout
    device: torch.device
    mesh: DeviceMesh | None = None

    def along(self, *axes: str) -> int:
        """This rank's place on an axis, or on several taken as one, the first slowest."""
        place = 0
        for axis in axes:
            if self.mesh is not None:
                place = place * self.mesh[axis].size() + self.mesh.get_local_rank(axis)
        return place

    @property
    def data(self) -> int:
        """Which share of a batch this rank reads."""
        return self.along(*DATA)

    @property
    def first(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.mesh is None or dist.get_rank() == 0

    def axis(self, *names: str) -> DeviceMesh:
        """The mesh of one axis, or of several. Only where there is a mesh."""
        assert self.mesh is not None
        return self.mesh[names if len(names) > 1 else names[0]]

    def total(self, values: Tensor, *axes: str) -> Tensor:
        """The sum of a tensor over all ranks, or over those along the axes; in place."""
        if self.mesh is not None:
            everywhere: list[dist.ProcessGroup | None] = [None]
            for group in [self.axis(name).get_group() for name in axes] or everywhere:
                dist.all_reduce(values, group=group)
        return values

    def any(self, *here: bool) -> list[bool]:
        """For each of some conditions, whether it holds at any rank."""
        if self.mesh is None:
            return list(here)
        return [count > 0 for count in self.total(torch.tensor(here, dtype=torch.int32, device=self.device)).tolist()]

    def share(self, value: Any) -> Any:
        """A picklable value of rank 0, at all ranks."""
        if self.mesh is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu") if self.device.type == "cpu" else self.device)
        return box[0]


@contextmanager
def joined(layout: Layout, device: torch.device) -> Iterator[Ranks]:
    """The ranks of a layout, each started by torchrun (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT).

    One process and no accelerator needs none of them and stays alone. On CUDA a single process gets a mesh of one too, so that
    precision is handled in one way there. Raises Refusal where the number of processes is not the layout's.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world != layout.processes:
        raise Refusal(f"the layout is for {layout.processes} processes (data {layout.data} x tensor {layout.tensor} x pipeline "
                      f"{layout.pipeline}), and {world} were started; start as many as it needs")
    if world == 1 and device.type == "cpu":
        yield Ranks(layout, device)
        return
    started = not dist.is_initialized()
    if started:
        if device.type == "cuda":
            place = int(os.environ.get("LOCAL_RANK", "0"))
            if place >= torch.cuda.device_count():
                raise Refusal(f"rank {place} of this host has no accelerator: torch sees {torch.cuda.device_count()}; start fewer here")
            device = torch.device("cuda", place)
            torch.cuda.set_device(device)
        # Checkpoints are coordinated on the CPU, beside the collectives of the accelerator.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        alone: dict[str, Any] = {"store": HashStore(), "rank": 0, "world_size": 1} if world == 1 else {}
        dist.init_process_group(backend, timeout=PATIENCE, **alone)
    try:
        yield Ranks(layout, device, grid(layout, device.type))
    finally:
        if started:
            dist.destroy_process_group()


def grid(layout: Layout, device_type: str) -> DeviceMesh:
    """The mesh of a layout over the processes of the default group; tensor-parallel ranks are neighbours, which share a node."""
    shape = (layout.pipeline, layout.data // layout.shards, layout.shards, layout.tensor)
    return init_device_mesh(device_type, shape, mesh_dim_names=AXES)
