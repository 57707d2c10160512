"""Rows that a folder does not have: drawn about the mean of the old ones, quiet in the output, the same whoever asks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from medloom.demo import SEEDLING
from medloom.ledger import Refusal
from medloom.model import Llama, ModelConfig, load_model, load_tokenizer, load_weights, save_model
from medloom.model.grow import SPREAD, new_rows


def grown(config: ModelConfig, folder: Path, **how: int) -> Llama:
    model = Llama(config)
    load_weights(model, folder, **how)
    return model


def test_new_rows_have_the_old_ones_mean_and_a_share_of_their_covariance() -> None:
    generator = torch.Generator().manual_seed(1)
    old = torch.randn(6000, 8, generator=generator) @ torch.randn(8, 8, generator=generator) + 3
    new = new_rows(lambda a, b: old[a:b], 6000, 6000, 6600, seed=1)
    covariance = old.T.cov()
    assert (new.mean(0) - old.mean(0)).abs().max() < 4 * SPREAD * covariance.diagonal().max().sqrt() / 600**0.5
    assert (new.T.cov() / SPREAD**2 - covariance).norm() < 0.2 * covariance.norm()


def test_a_row_depends_on_its_number_and_the_seed_alone() -> None:
    old = torch.randn(50, 4)
    rows = new_rows(lambda a, b: old[a:b], 50, 50, 58, seed=1)
    assert torch.equal(rows[3:5], new_rows(lambda a, b: old[a:b], 50, 53, 55, seed=1))
    assert not torch.allclose(rows, new_rows(lambda a, b: old[a:b], 50, 50, 58, seed=2))


def test_new_tokens_take_at_most_an_average_share_and_leave_the_rest_as_it_was() -> None:
    """Hewitt's bound, on a trained model and text: each new token gets no more than the average old one, up to the noise."""
    old = load_model(SEEDLING)
    size = old.config.vocab_size
    config = old.config.padded(128, tokens=size + 17)
    assert config.vocab_size == 1664 and old.config.padded(128).vocab_size == size
    new = grown(config, SEEDLING)
    text = "The doctor asked where the pain was, and the patient pointed to the left side of the chest. It began in the morning."
    tokens = torch.tensor([load_tokenizer(SEEDLING).encode(text, bos=True)])
    with torch.no_grad():
        before, after = (model.logits(model(tokens))[0].softmax(-1) for model in (old, new))
    taken = after[:, size:]
    assert taken.max() < 1.5 / size and taken.sum(-1).max() < 1.5 * 128 / size
    assert torch.allclose(after[:, :size] / after[:, :size].sum(-1, keepdim=True), before, atol=1e-6)


def test_what_training_left_as_padding_is_drawn_again(tmp_path: Path) -> None:
    config = ModelConfig(40, 16, 24, 1, 2, 1, 32)
    model = Llama(config)
    model.initialise(1)
    with torch.no_grad():
        model.lm_head.weight[30:] = 100.0  # type: ignore[union-attr]  no token has these rows
    save_model(model, tmp_path, like=None, dtype="float32")
    table = grown(config.padded(64), tmp_path, vocabulary=30).lm_head.weight  # type: ignore[union-attr]
    assert torch.equal(table[:30], model.lm_head.weight[:30]) and table[30:].abs().max() < 1  # type: ignore[union-attr]
    assert grown(config, tmp_path).lm_head.weight.max() == 100  # type: ignore[union-attr]


def test_padding_is_cut_off_again(tmp_path: Path) -> None:
    """The rows that pad a vocabulary are in no folder, and no config.json, that another program reads."""
    config = ModelConfig(40, 16, 24, 1, 2, 1, 32)
    model = Llama(config.padded(64))
    model.initialise(1)
    save_model(model, tmp_path / "a", like=None, dtype="float32", vocabulary=40)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "a", dtype=torch.float32)
    assert theirs.config.vocab_size == 40 and tuple(theirs.lm_head.weight.shape) == (40, 16)
    tokens = torch.arange(32)[None]
    with torch.no_grad():
        assert torch.allclose(theirs(tokens).logits, model.logits(model(tokens))[..., :40], atol=1e-4)
    with pytest.raises(ValueError, match="65 is more than the 64 rows"):
        save_model(model, tmp_path / "b", like=None, vocabulary=65)


def test_a_folder_whose_rows_are_not_those_of_its_own_configuration_is_refused(tmp_path: Path) -> None:
    model = Llama(ModelConfig(40, 16, 24, 1, 2, 1, 32))
    model.initialise(1)
    save_model(model, tmp_path / "a", like=None)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    save_model(Llama(ModelConfig(48, 16, 24, 1, 2, 1, 32)), tmp_path / "c", like=None)
    shutil.copyfile(tmp_path / "c/config.json", tmp_path / "b/config.json")
    with pytest.raises(Refusal, match=r"misshapen +model.embed_tokens.weight +\[40, 16\] where \[48, 16\]"):
        grown(ModelConfig(48, 16, 24, 1, 2, 1, 32), tmp_path / "b")


def test_adapters_are_neither_read_nor_saved(tmp_path: Path) -> None:
    model = Llama(ModelConfig(40, 16, 24, 1, 2, 1, 32))
    model.initialise(1)
    save_model(model, tmp_path, like=None, dtype="float32")
    other = Llama(model.config)
    other.model.layers["0"].self_attn.q_proj.lora_A = nn.ModuleDict({"default": nn.Linear(16, 4, bias=False)})  # type: ignore[union-attr]
    adapter = dict(other.named_parameters())["model.layers.0.self_attn.q_proj.lora_A.default.weight"].clone()
    load_weights(other, tmp_path)
    found = dict(other.named_parameters())
    assert torch.equal(found.pop("model.layers.0.self_attn.q_proj.lora_A.default.weight"), adapter)
    assert all(torch.equal(found[name], weight) for name, weight in model.named_parameters())
    with pytest.raises(ValueError, match="lora_A"):
        save_model(other, tmp_path / "out", like=None)


def test_saving_over_shards_leaves_none_of_them(tmp_path: Path) -> None:
    first, second = Llama(ModelConfig(40, 16, 24, 1, 2, 1, 32)), Llama(ModelConfig(40, 16, 24, 1, 2, 1, 32))
    first.initialise(1)
    second.initialise(2)
    save_model(first, tmp_path, like=None, dtype="float32", shard_bytes=4000)
    assert len(list(tmp_path.glob("model-*"))) > 2
    save_model(second, tmp_path, like=None, dtype="float32")
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    assert all(torch.equal(a, b) for a, b in zip(load_model(tmp_path).parameters(), second.parameters(), strict=True))
