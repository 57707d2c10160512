"""The form for vLLM, read back by the library that vLLM reads it with, and by transformers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from medloom.ledger import Refusal
from medloom.model import load_model
from medloom.quantise.compressed import export_compressed

pytest.importorskip("compressed_tensors", reason="needs compressed-tensors: pip install medloom[vllm-export]")


def unpacked(folder: Path, name: str, bits: int, group: int) -> torch.Tensor:
    """A layer's weight by the form's description alone: bits from the lowest up, offset by half their range, times the group's scale."""
    stored = load_file(folder / "model.safetensors")
    words, scale, shape = (stored[f"{name}.weight_{part}"] for part in ("packed", "scale", "shape"))
    digits = torch.stack([(words >> shift) & (2**bits - 1) for shift in range(0, 32, bits)], -1).flatten(1)
    numbers = digits[:, : int(shape[1])] - 2 ** (bits - 1)
    return (numbers.view(int(shape[0]), -1, group) * scale.float()[:, :, None]).flatten(1)


@pytest.mark.parametrize(("scheme", "bits", "error", "divergence"), [("W8A16", 8, 0.007, 5e-5), ("W4A16", 4, 0.12, 0.01)])
def test_transformers_reads_the_model_back(
        scheme: str, bits: int, error: float, divergence: float, random_model: Path, tmp_path: Path) -> None:
    """error: of a step of the grid, which the greatest of 128 normal weights, some 2.7 of their spread, decides, over the root of 12."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = export_compressed(random_model, tmp_path / "out", scheme)
    assert made["tensors"] == {"packed": 63, "plain": 21}
    assert made["group"] == 128
    original = load_model(random_model)
    weights = dict(original.named_parameters())
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    ids = torch.arange(3, 51)[None]
    with torch.inference_mode():
        theirs_logits = theirs(ids).logits[0]
        before = original.logits(original(ids))[0].log_softmax(-1)
        for name, weight in weights.items():
            if "_proj." not in name:
                weight.copy_(weight.bfloat16())
                continue
            back = unpacked(tmp_path / "out", name.removesuffix(".weight"), bits, 128)
            assert (back - weight).norm() < error * weight.norm(), name
            weight.copy_(back)
        ours = original.logits(original(ids))[0]
    # compressed-tensors multiplies in the dtype of the scales, bfloat16: a relative rounding of 2**-9 a weight.
    assert (ours - theirs_logits).abs().max() < 0.02 * ours.abs().max()
    after = theirs_logits.log_softmax(-1)
    assert (before.exp() * (before - after)).sum(-1).mean() < divergence
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("the dog")["input_ids"] == \
        AutoTokenizer.from_pretrained(random_model)("the dog")["input_ids"]


def test_config_says_what_vllm_asks_for(random_model: Path, tmp_path: Path) -> None:
    from compressed_tensors.quantization import QuantizationConfig

    export_compressed(random_model, tmp_path / "out", "W4A16")
    said = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert (said["quant_method"], said["format"], said["quantization_status"]) == ("compressed-tensors", "pack-quantized", "compressed")
    assert said["ignore"] == ["lm_head"]
    group = QuantizationConfig.model_validate({key: value for key, value in said.items() if key != "version"}).config_groups["group_0"]
    assert (group.weights.num_bits, group.weights.group_size, group.weights.symmetric, group.targets) == (4, 128, True, ["Linear"])
    assert group.input_activations is None
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert stored["lm_head.weight"].dtype == stored["model.embed_tokens.weight"].dtype == torch.bfloat16
    assert "model.layers.0.mlp.down_proj.weight" not in stored
    assert stored["model.layers.0.mlp.down_proj.weight_packed"].shape == (256, 512 * 4 // 32)


def test_shards_hold_the_same_tensors(random_model: Path, tmp_path: Path) -> None:
    export_compressed(random_model, tmp_path / "one", "W8A16")
    export_compressed(random_model, tmp_path / "many", "W8A16", shard_bytes=500_000)
    one = load_file(tmp_path / "one" / "model.safetensors")
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text())["weight_map"]
    assert index.keys() == one.keys()
    assert len(set(index.values())) > 3
    for name, file in index.items():
        assert torch.equal(load_file(tmp_path / "many" / file)[name], one[name])


def test_what_cannot_be_packed_is_refused(stories: Path, random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="W2A16: not a scheme"):
        export_compressed(random_model, tmp_path / "out", "W2A16")
    with pytest.raises(Refusal, match=r"rows of 64, 172 weights are not whole groups of 32"):
        export_compressed(stories, tmp_path / "out")
    with pytest.raises(Refusal, match="not empty"):
        export_compressed(random_model, random_model)


def test_without_the_package_the_cure_is_named(random_model: Path, tmp_path: Path) -> None:
    code = ("import sys; sys.modules['compressed_tensors'] = None; from pathlib import Path; from medloom.quantise.compressed import "
            f"export_compressed; export_compressed(Path({str(random_model)!r}), Path({str(tmp_path / 'out')!r}))")
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": source})
    assert "pip install medloom[vllm-export]" in done.stderr
    assert not (tmp_path / "out").exists()
