"""Trains a small network in several layouts and leaves what each saw. A program, started by test_layouts.py."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch._dynamo  # what torch leaves to the first network that is made: imported once here, and not by each rank
import torch.distributed as dist
import torch.distributed.pipelining  # the same, for stages
from torch.distributed.tensor import DTensor

from medloom.fit import ROWS
from medloom.ledger import Silent
from medloom.model import ModelConfig, load_weights
from medloom.recipe import Layout, Training
from medloom.train.data import Row
from medloom.train.engine import Engine
from medloom.train.gradients import gradient_norm
from medloom.train.loader import load
from medloom.train.loop import Stopped, train
from medloom.train.mesh import grid, joined
from medloom.train.start import check_start

LENGTH, BATCH, VOCABULARY = 32, 8, 320


class Rows:
    """Rows of short documents, of which very different shares are learned: where a loss is averaged wrongly it shows.

    Where `stop` is given, reading the rows of that step has the process asked to stop, as Slurm would.
    """

    def __init__(self, steps: int, stop: int | None = None) -> None:
        self.steps, self.stop = steps, stop

    def __len__(self) -> int:
        return self.steps * BATCH

    def __getitem__(self, number: int) -> Row:
        if self.stop is not None and number >= self.stop * BATCH:
            self.stop = None
            os.kill(os.getpid(), signal.SIGTERM)
        draw = np.random.default_rng(number)
        start, step = draw.integers(VOCABULARY), draw.integers(1, 7)
        tokens = (start + step * np.arange(LENGTH + 1)) % VOCABULARY  # something that can be learned
        segments = np.repeat(np.arange(number * 4, number * 4 + 4), (LENGTH + 4) // 4)[: LENGTH + 1]
        return Row(tokens.astype(np.int64), segments.astype(np.int64), draw.random(LENGTH + 1) < (0.05, 0.3, 0.9, 1.0)[number % 4],
                   LENGTH)


def measure(folder: Path, state: Path, layout: Layout, steps: int, stop: int | None = None,
            precision: torch.dtype = torch.float32, **changes: Any) -> dict[str, Any]:
    """The curve of a layout, and the gradient of each parameter before the first step."""
    settings = Training(length=LENGTH, batch=BATCH, device="cpu", **{"micro_batch": 4, "rate": 6e-3, "precision": "fp32",
                                                                     "checkpoint_seconds": 1e9, "schedule": "constant", "warmup": 0.0,
                                                                     **changes})
    config = ModelConfig.from_folder(folder)
    with joined(layout, torch.device("cpu")) as ranks:
        if dist.is_initialized() and ranks.mesh is None:  # one process takes part in a group of one, as on a GPU
            ranks = replace(ranks, mesh=grid(layout, "cpu"))
        engine = Engine.build(config.padded(ROWS), settings, ranks, precision, vocabulary=config.vocab_size)
        engine.materialise()
        fill = partial(load_weights, folder=folder)
        for network in engine.networks:
            fill(network)
        first = load(Rows(1), 0, size=BATCH, vocab_size=VOCABULARY, rank=ranks.data, ranks=layout.data, device=ranks.device)
        learned = ranks.total(first.counted.sum(), "replicate", "shard")
        engine.forward_backward(first, 1 / int(learned))
        norm = float(gradient_norm((parameter for _, parameter in engine.parameters()), ranks))
        gradients = {}
        for name, parameter in engine.parameters():
            assert parameter.grad is not None, name
            gradient = parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad
            gradients[name] = gradient.clone()
            parameter.grad = None
        if ranks.mesh is not None:
            gathered: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(gathered, gradients)
            gradients = {name: gradient for found in gathered for name, gradient in found.items()}
        started = check_start(engine, first, folder, fill)
        try:
            metrics = train(engine, Rows(steps, stop), name="test", state=state, identity={}, progress=Silent()).metrics
        except Stopped:
            metrics = []
    return {"losses": [row["loss"] for row in metrics], "norms": [row["grad_norm"] for row in metrics],
            "gradients": gradients, "norm": norm, "started": started}


def rank(number: int, world: int, port: int, cases: dict[str, dict[str, Any]], out: Path) -> None:
    """One process of `world`: every case in turn, on one group."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(number), "WORLD_SIZE": str(world), "LOCAL_RANK": str(number),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if world > 1:
        dist.init_process_group("gloo")
    for name, case in cases.items():
        if case.pop("meshed", False):
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        case["precision"] = torch.bfloat16 if case.pop("bf16", False) else torch.float32
        found = measure(Path(case.pop("folder")), out / case.pop("state", name), Layout(**case.pop("layout")), **case)
        if number == 0:
            torch.save(found, out / f"{name}.pt")
        if world == 1 and dist.is_initialized():
            dist.destroy_process_group()
    if world > 1:
        dist.destroy_process_group()


def main(worlds: dict[str, dict[str, dict[str, Any]]], out: Path) -> int:
    """Each world in turn. Ranks are forked from here, where torch is imported and nothing has run, so that they need not import it."""
    fork = multiprocessing.get_context("fork")
    for world, cases in worlds.items():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ranks = [fork.Process(target=rank, args=(number, int(world), port, cases, out)) for number in range(int(world))]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        if any(process.exitcode for process in ranks):
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1]), Path(sys.argv[2])))
