"""Every layout gives the curve of a single process, gradient by gradient, and goes on from where any other stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medloom.fit import check_fit
from medloom.ledger import Refusal
from medloom.model import Llama, ModelConfig, save_model
from medloom.recipe import Layout, Training
from medloom.train.pipeline import parts

WORKER = Path(__file__).with_name("layouts.py")
SHAPE: dict[str, Any] = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "layers": 2, "heads": 4, "kv_heads": 2,
                         "max_positions": 64}
# By folder, in what its network differs; each is trained by one process under the folder's name. A vocabulary that two ranks cannot share
# is padded, and what pads it must count for nothing. Stages of more than one block, and more stages than ranks, need a deeper network.
NETWORKS: dict[str, dict[str, Any]] = {"plain": {}, "tied": {"tied": True}, "odd": {"vocab_size": 321}, "deep": {"layers": 4}}
CLOSE = 1e-5
STEPS = 16
FEW = 6  # steps of what the main cases cover for 16

# By number of processes: what is run, in this order, on one group of them. Cases with the same state go on from each other.
CASES: dict[int, dict[str, dict[str, Any]]] = {
    1: {"plain": {"layout": {}}, "tied": {"layout": {}, "folder": "tied"}, "odd": {"layout": {}, "folder": "odd", "z_loss": 0.01},
        "deep": {"layout": {}, "folder": "deep"},
        "single-meshed": {"layout": {}, "meshed": True}, "bf16": {"layout": {}, "bf16": True},
        "bf16-meshed": {"layout": {"recompute": "selective"}, "meshed": True, "bf16": True},
        "single-recompute": {"layout": {"recompute": "full"}}, "single-selective": {"layout": {"recompute": "selective"}}},
    4: {"dp4": {"layout": {"data": 4}}, "hybrid": {"layout": {"data": 4, "sharding": "hybrid", "shard": 2}, "steps": FEW},
        "tp2-pp2": {"layout": {"tensor": 2, "pipeline": 2}}, "dp2-tp2": {"layout": {"data": 2, "tensor": 2, "recompute": "full"}},
        "dp2-pp2": {"layout": {"data": 2, "pipeline": 2}, "folder": "deep"},
        "tied-dp2-tp2": {"layout": {"data": 2, "tensor": 2}, "folder": "tied", "steps": FEW},
        "on-1": {"layout": {"data": 4}, "state": "moving", "stop": 5},
        "on-2": {"layout": {"data": 2, "tensor": 2}, "state": "moving", "stop": 10}},
    2: {"dp2": {"layout": {"data": 2}}, "dp2-whole": {"layout": {"data": 2, "sharding": "none", "recompute": "selective"}, "steps": FEW},
        "tp2": {"layout": {"tensor": 2}}, "odd-tp2": {"layout": {"tensor": 2}, "folder": "odd", "z_loss": 0.01, "steps": FEW},
        "bf16-dp2": {"layout": {"data": 2}, "bf16": True},
        "pp2": {"layout": {"pipeline": 2}, "folder": "deep"},
        "pp2-interleaved": {"layout": {"pipeline": 2, "stages": 2}, "folder": "deep", "micro_batch": 2, "steps": FEW},
        "tp2-compiled": {"layout": {"tensor": 2, "compile": True, "recompute": "selective"}, "steps": FEW},
        "dp2-compiled": {"layout": {"data": 2, "compile": True}, "steps": FEW},
        "moved": {"layout": {"pipeline": 2}, "state": "moving"}},
    8: {"dp2-tp2-pp2": {"layout": {"data": 2, "tensor": 2, "pipeline": 2}}},
}
GIVEN = {name: {"folder": "plain", "steps": STEPS, **case} for cases in CASES.values() for name, case in cases.items()}
COMPARED = [name for name in GIVEN if name not in NETWORKS and not name.startswith(("on-", "bf16"))]


@pytest.fixture(scope="session")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("layouts")
    for name, changes in NETWORKS.items():
        network = Llama(ModelConfig(**SHAPE | changes))
        network.initialise(3)
        save_model(network, folder / "networks" / name, like=None, dtype="float32")
    given = {world: {name: GIVEN[name] | {"folder": str(folder / "networks" / GIVEN[name]["folder"])} for name in cases}
             for world, cases in CASES.items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ran = subprocess.run([sys.executable, str(WORKER), json.dumps(given), str(folder)], stderr=subprocess.PIPE, text=True, timeout=580,
                         env=environment, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return {name: torch.load(folder / f"{name}.pt") for name in GIVEN}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_a_layout_gives_the_curve_of_one_process(name: str, curves: dict[str, dict[str, Any]]) -> None:
    found, expected, steps = curves[name], curves[GIVEN[name]["folder"]], GIVEN[name]["steps"]
    assert len(found["losses"]) == steps and expected["losses"][-1] < expected["losses"][0]
    assert found["losses"] == pytest.approx(expected["losses"][:steps], abs=CLOSE)
    assert found["norms"] == pytest.approx(expected["norms"][:steps], abs=CLOSE)
    assert found["gradients"].keys() == expected["gradients"].keys()
    for parameter, gradient in expected["gradients"].items():
        assert (found["gradients"][parameter] - gradient).norm() <= CLOSE * gradient.norm(), parameter


@pytest.mark.slow
def test_bfloat16_is_near_float32_in_every_way_to_compute_it(curves: dict[str, dict[str, Any]]) -> None:
    """Alone by autocast, in a group by sharding's mixed precision; weights and reductions are float32 in both."""
    for name in ("bf16", "bf16-meshed", "bf16-dp2"):
        assert curves[name]["losses"] == pytest.approx(curves["plain"]["losses"], abs=5e-3), name
        assert curves[name]["losses"] != curves["plain"]["losses"]
        for parameter, gradient in curves["plain"]["gradients"].items():
            found = curves[name]["gradients"][parameter]
            assert found.dtype == torch.float32 and (found - gradient).norm() <= 0.05 * gradient.norm(), (name, parameter)


@pytest.mark.slow
def test_the_start_is_the_folder_s_own_loss(curves: dict[str, dict[str, Any]]) -> None:
    for name, found in curves.items():
        in_layout, of_folder = found["started"]
        assert in_layout == pytest.approx(of_folder, abs=5e-3 if name.startswith("bf16") else 1e-5) and of_folder > 5, name


def test_stages_cover_the_network_once() -> None:
    layout = Layout(pipeline=3, stages=2)
    stages = parts(ModelConfig(**SHAPE | {"layers": 14}), layout)
    assert [stage.last - stage.first for stage in stages] == [3, 3, 2, 2, 2, 2]
    assert [stage.embeds for stage in stages].count(True) == 1 and stages[0].embeds and stages[-1].scores
    assert sorted(place for rank in range(3) for place in layout.places(rank)) == list(range(6))


@pytest.mark.parametrize(("layout", "said"), [
    ({"tensor": 8}, "does not divide the 4 attention heads"), ({"tensor": 4}, "does not divide the 2 key-value heads"),
    ({"pipeline": 5}, "more than the 4 layers"), ({"data": 3}, "not a multiple of layout.data = 3"),
    ({"pipeline": 2, "stages": 2}, "set micro_batch to 2 or less")])
def test_an_impossible_layout_is_refused(layout: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        check_fit(ModelConfig(**SHAPE | {"layers": 4}), Training(length=32, batch=8, micro_batch=4), Layout(**layout))


def test_a_tied_head_cannot_be_cut_off() -> None:
    with pytest.raises(Refusal, match="take pipeline = 1"):
        check_fit(ModelConfig(**SHAPE, tied=True), Training(length=32, batch=8, micro_batch=4), Layout(pipeline=2))
