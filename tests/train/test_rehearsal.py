"""Layouts of many ranks, built in this process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from medloom.model import ModelConfig
from medloom.plan.memory import Way, memory
from medloom.recipe import Layout, Training
from medloom.train.rehearsal import rehearse

LLAMA_2_7B = ModelConfig(32_000, 4096, 11_008, 32, 32, 32, 4096)
LLAMA_2_70B = ModelConfig(32_000, 8192, 28_672, 80, 64, 8, 4096)
MERELY = Training(length=4096, batch=512, micro_batch=64)


@pytest.mark.slow
@pytest.mark.parametrize(("config", "layout"), [
    (LLAMA_2_7B, {"data": 8}), (LLAMA_2_7B, {"data": 16, "tensor": 4}), (LLAMA_2_7B, {"data": 64, "sharding": "hybrid", "shard": 8}),
    (LLAMA_2_70B, {"data": 2, "tensor": 8, "pipeline": 8})])
def test_what_ranks_hold_is_what_the_plan_says(config: ModelConfig, layout: dict[str, Any]) -> None:
    split = Layout(**layout)
    found = rehearse(config, split, MERELY)
    planned = memory(config, split, Way(2, compiled=True, accelerated=True, cast=False), rows=1, length=4096, accumulation=8)
    states = planned.weights_gb + planned.gradients_gb + planned.optimiser_gb
    assert found.ranks == split.processes
    assert found.states_gb == pytest.approx(states, rel=2e-3)  # of tensor parallelism the norms, which every rank has whole
    assert sum(found.most) * split.tensor * split.shards == pytest.approx(config.parameters, rel=2e-3)


def test_torch_s_fake_group_leaves_nothing_behind() -> None:
    code = """
import torch.distributed as dist
from medloom.model import ModelConfig
from medloom.recipe import Layout, Training
from medloom.train.rehearsal import rehearse
shape = ModelConfig(320, 32, 64, 4, 4, 2, 64)
for _ in range(2):
    print(rehearse(shape, Layout(data=2, tensor=2, pipeline=2), Training(length=32, batch=8, micro_batch=4)).most, dist.is_initialized())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = ran.stdout.splitlines()
    assert first == second and first.endswith("False")
