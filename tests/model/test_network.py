"""Our network and folders against transformers': the same numbers, in both directions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from medloom.ledger import Refusal
from medloom.model import Cache, Llama, ModelConfig, load_model, save_model

LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}
SHAPES: dict[str, dict[str, Any]] = {
    "llama2": {"num_key_value_heads": 4},
    "grouped": {"num_key_value_heads": 2, "rms_norm_eps": 1e-6},
    "tied": {"num_key_value_heads": 1, "tie_word_embeddings": True, "head_dim": 24},
    "llama3": {"num_key_value_heads": 2, "rope_parameters": LLAMA3_ROPE},
}


def theirs(name: str) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                         max_position_embeddings=256, initializer_range=0.2, **SHAPES[name])
    return LlamaForCausalLM(config).eval()


def logits(model: Llama, tokens: torch.Tensor, **how: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(tokens, **how))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 97, (2, 120), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("shard", ["5GB", "60KB"])
def test_their_folder_gives_their_logits(name: str, shard: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    model = theirs(name)
    model.save_pretrained(tmp_path, max_shard_size=shard)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard != "5GB")
    with torch.no_grad():
        expected = model(tokens).logits
    assert (logits(load_model(tmp_path), tokens) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("name", SHAPES)
def test_our_folder_gives_our_logits_in_transformers(name: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    theirs(name).save_pretrained(tmp_path / "a")
    ours = load_model(tmp_path / "a")
    save_model(ours, tmp_path / "b", like=tmp_path / "a", dtype="float32", shard_bytes=100_000)
    assert len(list((tmp_path / "b").glob("*.safetensors"))) > 1
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "b", dtype=torch.float32)
    with torch.no_grad():
        assert (back(tokens).logits - logits(ours, tokens)).abs().max() <= 1e-4
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), load_model(tmp_path / "b").parameters(), strict=True))


def test_saving_twice_gives_the_same_bytes_and_bf16_by_default(tmp_path: Path) -> None:
    theirs("tied").save_pretrained(tmp_path / "a")
    model = load_model(tmp_path / "a")
    for name in "bc":
        save_model(model, tmp_path / name, like=tmp_path / "a")
    files = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert files == ["config.json", "generation_config.json", "model.safetensors"]
    assert all((tmp_path / "b" / name).read_bytes() == (tmp_path / "c" / name).read_bytes() for name in files)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "b").dtype == torch.bfloat16
    assert "lm_head.weight" not in dict(model.named_parameters())


def test_cache_and_segments_see_what_the_plain_pass_sees(tmp_path: Path, tokens: torch.Tensor) -> None:
    theirs("llama3").save_pretrained(tmp_path)
    model = load_model(tmp_path)
    whole = logits(model, tokens)
    cache = Cache()
    parts = [logits(model, tokens[:, a:b], cache=cache) for a, b in ((0, 50), (50, 51), (51, 120))]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-4)
    # A document packed behind another gets the logits that it has alone: positions are relative in RoPE.
    segments = torch.tensor([[0] * 50 + [1] * 70]).expand(2, -1)
    packed = logits(model, tokens, segments=segments)
    assert torch.allclose(packed[:, 50:], logits(model, tokens[:, 50:]), atol=1e-4)
    assert not torch.allclose(packed[:, 50:], whole[:, 50:], atol=1e-2)


def test_rotations_stay_float32_when_the_weights_are_cast(tmp_path: Path) -> None:
    theirs("llama2").save_pretrained(tmp_path)
    model = load_model(tmp_path).to(torch.bfloat16)
    assert model.frequencies.dtype == torch.float32
    assert torch.equal(model.frequencies, load_model(tmp_path).frequencies)


def test_the_older_form_of_config_json_reads_alike(tmp_path: Path) -> None:
    theirs("llama3").save_pretrained(tmp_path)
    new = ModelConfig.from_folder(tmp_path)
    old = new.to_hugging_face("float32")
    del old["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert ModelConfig.from_folder(tmp_path) == new and new.rope_scaling is not None and new.rope_theta == 500_000.0


def test_parameter_count_is_transformers(tmp_path: Path) -> None:
    for name in SHAPES:
        model = theirs(name)
        model.save_pretrained(tmp_path / name)
        assert ModelConfig.from_folder(tmp_path / name).parameters == model.num_parameters()


def test_weights_that_do_not_cover_the_model_are_refused(tmp_path: Path) -> None:
    theirs("llama2").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())

    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(Refusal, match=r"missing +model\.layers\.2\.input_layernorm\.weight +\[64\]\n"):
        load_model(tmp_path)
    path.write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(Refusal, match=r"unexpected +model\.layers\.1\.input_layernorm\.weight +\[64\]\n"):
        load_model(tmp_path)
    path.write_text(json.dumps(config | {"tie_word_embeddings": True}))
    with pytest.raises(Refusal, match=r"unexpected +lm_head\.weight +\[97, 64\]"):
        load_model(tmp_path)
    path.write_text(json.dumps(config | {"vocab_size": 96}))
    with pytest.raises(Refusal, match=r"misshapen +lm_head\.weight +\[97, 64\] where \[96, 64\]"):
        load_model(tmp_path)
    path.write_text(json.dumps(config | {"attention_bias": True}))
    with pytest.raises(Refusal, match="attention_bias"):
        load_model(tmp_path)
    path.write_text(json.dumps(config))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(Refusal, match="not a whole safetensors"):
        load_model(tmp_path)
    weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(Refusal, match="pickled"):
        load_model(tmp_path)
    path.unlink()
    with pytest.raises(Refusal, match="no such file"):
        load_model(tmp_path)


def test_a_network_is_laid_out_without_torchs_compiler() -> None:
    """Its import takes seconds, and numbers drawn on the meta device would ask for it."""
    code = ("import sys, torch; from medloom.model import Llama, ModelConfig; torch.set_default_device('meta'); "
            "network = Llama(ModelConfig(64, 32, 32, 1, 2, 2, 16)).bfloat16(); "
            "print(network.frequencies.device, 'torch._dynamo' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["meta", "False"]
