"""Every family against transformers': the same numbers, in both directions and in both forms of config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from medloom.ledger import Refusal
from medloom.model import Llama, ModelConfig, load_model, save_model
from medloom.quantise import export_gguf

SIZES = {"vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2, "attn_implementation": "eager"}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "llama-linear": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}),
    "llama3": (LlamaConfig, LlamaForCausalLM, {"rope_parameters": LLAMA3, "eos_token_id": [5, 6]}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": 24}),
    "mistral-v0.3": (MistralConfig, MistralForCausalLM, {"sliding_window": None, "head_dim": 24}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {"rms_norm_eps": 1e-6}),
    "qwen2-window": (Qwen2Config, Qwen2ForCausalLM, {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}),
    "qwen2-tied": (Qwen2Config, Qwen2ForCausalLM, {"tie_word_embeddings": True, "bos_token_id": 3, "eos_token_id": 4}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 24}),
    "qwen3-off": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 16, "sliding_window": 8, "max_window_layers": 2}),
}
WINDOWED = ("mistral", "qwen2-window")


def theirs(name: str) -> PreTrainedModel:
    torch.manual_seed(1)
    config, network, more = CASES[name]
    model = network(config(**SIZES, **more)).eval()
    with torch.no_grad():
        for key, weight in model.named_parameters():  # biases and norms start at 0 and 1, where leaving one out would not show
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(key))))
    return model


def theirs_logits(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        scores: torch.Tensor = model(tokens).logits
    return scores


def logits(model: Llama, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(tokens))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 97, (2, 80), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", CASES)
def test_logits_both_ways(name: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    model = theirs(name)
    model.save_pretrained(tmp_path / "a")
    ours = load_model(tmp_path / "a")
    found = logits(ours, tokens)
    assert (found - theirs_logits(model, tokens)).abs().max() <= 1e-4
    assert ours.config.parameters == model.num_parameters()
    save_model(ours, tmp_path / "b", like=tmp_path / "a", dtype="float32")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "b", dtype=torch.float32)
    assert type(back) is type(model)
    assert (theirs_logits(back, tokens) - found).abs().max() <= 1e-4
    assert back.generation_config.eos_token_id == model.generation_config.eos_token_id


@pytest.mark.parametrize("name", WINDOWED)
def test_what_lies_before_the_window_is_not_seen(name: str, tmp_path: Path, tokens: torch.Tensor) -> None:
    """Two layers reach back twice: a token more than that before the last position changes nothing there, the nearest beyond one does."""
    theirs(name).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config.window is not None
    reach = 2 * (model.config.window - 1)
    before = logits(model, tokens)[:, -1]
    for back, seen in ((reach + 1, False), (reach, True)):
        other = tokens.clone()
        other[:, -1 - back] = (other[:, -1 - back] + 1) % 97
        assert torch.equal(logits(model, other)[:, -1], before) != seen


@pytest.mark.parametrize("name", CASES)
def test_the_older_form_of_config_json_reads_alike(name: str, tmp_path: Path) -> None:
    theirs(name).save_pretrained(tmp_path)
    new = ModelConfig.from_folder(tmp_path)
    old = new.to_hugging_face("float32")
    del old["rope_parameters"], old["dtype"]
    if old["rope_scaling"]:
        old["rope_scaling"]["type"] = old["rope_scaling"].pop("rope_type")
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert ModelConfig.from_folder(tmp_path) == new
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters["rope_theta"] == new.rope_theta


def test_windows_as_qwen_writes_them(tmp_path: Path) -> None:
    theirs("qwen2-window").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    raw = json.loads(path.read_text())
    raw.pop("layer_types")

    def window(**changes: Any) -> int | None:
        path.write_text(json.dumps({**raw, **changes}))
        return ModelConfig.from_folder(tmp_path).window

    assert window() == 16
    assert window(use_sliding_window=False) is None
    assert window(max_window_layers=2) is None and window(max_window_layers=28) is None
    assert window(layer_types=["full_attention"] * 2) is None and window(layer_types=["sliding_attention"] * 2, max_window_layers=2) == 16
    for mixed in ({"max_window_layers": 1}, {"layer_types": ["full_attention", "sliding_attention"]}):
        with pytest.raises(Refusal, match="1 of 2 layers have a sliding window"):
            window(**mixed)


# What the makers' files say, in transformers 4's form, and the parameters that their pages count.
PUBLISHED: dict[str, tuple[dict[str, Any], int | None, int]] = {
    "Mistral-7B-v0.1": ({
        "architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
        "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
        "tie_word_embeddings": False, "vocab_size": 32000}, 4096, 7_241_732_096),
    "Qwen2.5-0.5B": ({
        "architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 896,
        "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 24, "model_type": "qwen2",
        "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
        "sliding_window": 32768, "tie_word_embeddings": True, "use_sliding_window": False, "vocab_size": 151936}, None, 494_032_768),
    "Qwen3-0.6B": ({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128,
        "hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28,
        "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
        "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "use_sliding_window": False,
        "vocab_size": 151936}, None, 596_049_920),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(name: str, tmp_path: Path) -> None:
    raw, window, parameters = PUBLISHED[name]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    config = ModelConfig.from_folder(tmp_path)
    assert (config.window, config.parameters, config.rope_theta) == (window, parameters, raw["rope_theta"])
    written = config.to_hugging_face("bfloat16")
    assert {key: written[key] for key in raw if key not in ("sliding_window", "torch_dtype")} == \
        {key: value for key, value in raw.items() if key != "sliding_window"}
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert ModelConfig.from_folder(tmp_path) == config


def test_gguf_refuses_what_llama_is_not(tmp_path: Path) -> None:
    for name, says in (("qwen2", "this is qwen2"), ("qwen3", "this is qwen3"), ("mistral", "sliding window of 24")):
        theirs(name).save_pretrained(tmp_path / name)
        with pytest.raises(Refusal, match=says):
            export_gguf(tmp_path / name, tmp_path / "out.gguf")


def test_a_new_network_starts_from_norms_of_one_and_biases_of_zero() -> None:
    model = Llama(ModelConfig(50, 32, 48, 1, 2, 1, 64, family="qwen2"))
    model.initialise(1)
    flat = {name: weight for name, weight in model.named_parameters() if weight.dim() == 1}
    assert {name.rpartition(".")[2] for name in flat} == {"weight", "bias"} and len(flat) == 6
    assert all(bool((weight == (0 if name.endswith("bias") else 1)).all()) for name, weight in flat.items())
