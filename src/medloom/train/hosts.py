"""On which hosts the ranks of a job are started, and how.

On one machine torchrun stands alone. In a Slurm allocation of several nodes srun starts one on each. Elsewhere MEDLOOM_HOSTS and
MEDLOOM_MEET say how many hosts take part and where they meet: whoever reads them starts the ranks of its own host, and on the others
somebody starts torchrun by hand. All hosts see the run's folder under the same path.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import log2
from pathlib import Path

from ..ledger import Refusal
from ..recipe import Layout, Recipe

MEETING = "medloom"
SHOWN = 3


@dataclass(frozen=True)
class Hosts:
    """How many hosts take part; where there are several, HOST:PORT where they meet, a name for this meeting, and whether srun
    starts them."""

    count: int = 1
    meet: str = ""
    name: str = MEETING
    srun: bool = False

    def command(self, per_host: int) -> list[str]:
        """What starts torchrun with so many ranks on each host; without srun on this host alone."""
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(per_host)]
        if self.count == 1:
            return [*torchrun, "--standalone"]
        torchrun += ["--nnodes", str(self.count), "--rdzv-backend", "c10d", "--rdzv-endpoint", self.meet, "--rdzv-id", self.name]
        return [*_srun(self.count), *torchrun] if self.srun else torchrun


def hosts(environment: Mapping[str, str] = os.environ) -> Hosts:
    """The hosts that this process's surroundings name. Raises Refusal where they do so by halves."""
    nodes = int(environment.get("SLURM_JOB_NUM_NODES", "1"))
    if nodes > 1:
        listing = ["scontrol", "show", "hostnames", environment["SLURM_JOB_NODELIST"]]
        first = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split()[0]
        job = environment["SLURM_JOB_ID"]
        return Hosts(nodes, f"{first}:{20_000 + int(job) % 20_000}", f"{MEETING}-{job}", srun=True)
    count, meet = environment.get("MEDLOOM_HOSTS"), environment.get("MEDLOOM_MEET")
    if count is None and meet is None:
        return Hosts()
    if count is None or not count.isdecimal() or int(count) < 1 or meet is None or not re.fullmatch(r".+:\d+", meet):
        raise Refusal(f"MEDLOOM_HOSTS = {count}, MEDLOOM_MEET = {meet}: set both, to a number and HOST:PORT, or neither")
    return Hosts(int(count), meet)


def by_hand(run: list[str], folder: Path, count: int, per_host: int, first: str, port: int) -> dict[str, str]:
    """The shell command for each kind of host: `first`, which walks the road, and where there are several `others`, which wait
    for every training step of it and take part.

    run: the words that start the run on one host. folder: where it is kept.
    """
    if count == 1:
        return {"first": shlex.join(run)}
    meet = f"{first}:{port}"
    torchrun = [*Hosts(count, meet).command(per_host), "-m", "medloom.train", str(folder)]
    return {"first": f"MEDLOOM_HOSTS={count} MEDLOOM_MEET={meet} {shlex.join(run)}",
            "others": f"while sleep 1; do {shlex.join(torchrun)}; done"}


def check_layout(recipe: Recipe, count: int, per_host: int) -> None:
    """Refuse hosts that are not what the recipe's layout asks for, and say which layouts would do."""
    layout, ranks = recipe.layout, count * per_host
    if layout.processes == ranks:
        return
    near = sorted(_layouts(recipe, ranks, per_host), key=lambda other: sum(
        abs(log2(getattr(other, way) / getattr(layout, way))) for way in ("data", "tensor", "pipeline")))
    cures = " or ".join(f"`{_sets(recipe, other, ranks)}`" for other in near[:SHOWN])
    asked = f"layout.data x tensor x pipeline = {layout.data} x {layout.tensor} x {layout.pipeline} = {layout.processes} processes"
    raise Refusal(f"{asked}, and {count} nodes with {per_host} each make {ranks}; "
                  f"{'give ' + cures if cures else 'no layout of so many shares out every micro_batch: make that a multiple of more'}")


def _layouts(recipe: Recipe, ranks: int, per_host: int) -> Iterator[Layout]:
    """All layouts of so many ranks whose tensor-parallel ranks share a host and whose data-parallel ranks share out each micro-batch."""
    stages = [stage for stage in (recipe.pretrain, recipe.finetune) if stage is not None]
    for tensor in range(1, per_host + 1):
        for pipeline in range(1, ranks // tensor + 1):
            data, rest = divmod(ranks, tensor * pipeline)
            fits = not rest and not per_host % tensor and not any(stage.micro_batch % data for stage in stages)
            if fits and (recipe.layout.shard is None or not data % recipe.layout.shard) and (recipe.layout.stages == 1 or pipeline > 1):
                yield recipe.layout.model_copy(update={"data": data, "tensor": tensor, "pipeline": pipeline})


def _sets(recipe: Recipe, layout: Layout, ranks: int) -> str:
    """The options that make a recipe's layout another."""
    changed = {f"layout.{way}": getattr(layout, way) for way in ("data", "tensor", "pipeline")
               if getattr(layout, way) != getattr(recipe.layout, way)}
    return " ".join(f"--set {key}={value}" for key, value in {"hardware.count": ranks, **changed}.items())


def _srun(nodes: int) -> list[str]:
    """One task a node, with all its processors: srun gives a task one where it asks for no number."""
    processors = os.environ.get("SLURM_CPUS_PER_TASK") or re.split(r"[(,]", os.environ.get("SLURM_JOB_CPUS_PER_NODE", "1"))[0]
    return ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={processors}", "--kill-on-bad-exit=1"]
