"""Weights under every layout: each rank reads its share exactly, and what is saved is what one process would have saved."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medloom.model import Llama, ModelConfig, Part, load_model, load_weights, save_model

CONFIG = ModelConfig(vocab_size=98, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, max_positions=64, family="qwen2")
LAYOUTS = {2: ("data", "tensor", "pipeline"), 4: ("uneven", "hybrid", "data-tensor", "three", "pipeline-data")}


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_load_and_save_under_layouts(world: int, tmp_path: Path) -> None:
    folder, alone = tmp_path / "model", tmp_path / "alone"
    model = Llama(CONFIG)
    model.initialise(3)
    save_model(model, folder, like=None, dtype="float32")
    save_model(model, alone, like=folder, dtype="float32", shard_bytes=20_000)
    ranks = subprocess.run([sys.executable, Path(__file__).with_name("layouts.py"), folder, tmp_path, str(world)],
                           capture_output=True, text=True, timeout=300, check=False)
    assert ranks.returncode == 0, ranks.stderr
    for name in LAYOUTS[world]:
        cut, same = tmp_path / f"{name}-cut", tmp_path / f"{name}-same"
        assert json.loads((cut / "config.json").read_text()) == json.loads((folder / "config.json").read_text())
        index = json.loads((alone / "model.safetensors.index.json").read_text())
        if "pipeline" not in name:
            assert (cut / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
            files = sorted(path.name for path in alone.iterdir())
            assert files == sorted(path.name for path in same.iterdir()) and len(files) > 5
            assert all((same / file).read_bytes() == (alone / file).read_bytes() for file in files)
        written = json.loads((same / "model.safetensors.index.json").read_text())
        assert written["metadata"] == index["metadata"] and list(written["weight_map"]) == list(index["weight_map"])
        for file in set(written["weight_map"].values()):
            assert (same / file).stat().st_size < 25_000
            assert set(load_file(same / file)) == {key for key, place in written["weight_map"].items() if place == file}
        for ours in (load_model(cut), load_model(same)):
            assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), model.parameters(), strict=True))


def test_the_parts_of_one_rank_make_one_folder(tmp_path: Path) -> None:
    """As under an interleaved pipeline, where a rank holds several stages."""
    model = Llama(CONFIG)
    model.initialise(3)
    save_model(model, tmp_path / "whole", like=None)
    parts = [Llama(CONFIG, part) for part in (Part(0, 1, scores=False), Part(1, 2, embeds=False, scores=False), Part(2, 2, embeds=False))]
    for part in parts:
        load_weights(part, tmp_path / "whole")
    save_model(parts, tmp_path / "parts", like=None)
    assert all((tmp_path / "parts" / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "whole").iterdir())
    with pytest.raises(ValueError, match=r"first lm_head\.weight; every rank saves all its parts"):
        save_model(parts[:2], tmp_path / "some", like=None)
