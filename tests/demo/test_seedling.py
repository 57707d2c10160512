"""The base model that ships in the package: what it is, that others read it as we do, and that llama.cpp does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from medloom.demo import SEEDLING, write_world
from medloom.ledger.files import sha256_file
from medloom.model import load_model, load_tokenizer
from medloom.quantise import export_gguf, measure, read_reference, write_reference


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """General text of which the seedling never read a document, and medical text of a world that it does not know."""
    world = tmp_path_factory.mktemp("world")
    write_world(world, 5, "tiny")
    general = [json.loads(line)["text"] for line in (world / "general/replay/replay.jsonl").read_text().splitlines()]
    medical = [path.read_text() for path in sorted((world / "guidelines/text").glob("*.md"))]
    return [text for pair in zip(general, medical, strict=False) for text in pair]


def test_it_is_small_and_its_widths_allow_k_quants() -> None:
    config = json.loads((SEEDLING / "config.json").read_text())
    assert config["hidden_size"] % 256 == 0 and config["intermediate_size"] % 256 == 0
    parameters = sum(weight.numel() for weight in load_model(SEEDLING).parameters())
    assert 3e6 < parameters < 6e6
    assert sum(path.stat().st_size for path in SEEDLING.iterdir()) < 12e6


def test_it_is_what_its_record_says() -> None:
    record = json.loads((SEEDLING / "record.json").read_text())
    assert record["name"] == "pretrain" and record["figures"]["tokens"] >= 3_000_000
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        assert sha256_file(SEEDLING / name) == record["outputs"][name]["sha256"]


def test_transformers_computes_the_same_logits_from_the_same_ids(texts: list[str]) -> None:
    ours, theirs = load_model(SEEDLING).eval(), AutoModelForCausalLM.from_pretrained(SEEDLING, dtype=torch.float32).eval()
    tokenizer, their_tokenizer = load_tokenizer(SEEDLING), AutoTokenizer.from_pretrained(SEEDLING)
    for text in texts[:8]:
        ids = tokenizer.encode(text, bos=tokenizer.adds_bos)[:256]
        assert ids == their_tokenizer(text)["input_ids"][:256]
        tokens = torch.tensor([ids])
        with torch.no_grad():
            difference = (ours.logits(ours(tokens)) - theirs(tokens).logits).abs().max().item()
        assert difference <= 1e-4


def test_llama_cpp_agrees_on_the_next_token_at_f16(texts: list[str], tmp_path: Path) -> None:
    export_gguf(SEEDLING, tmp_path / "model-F16.gguf", "F16")
    write_reference(SEEDLING, texts, 400, tmp_path / "reference")
    found = measure(read_reference(tmp_path / "reference"), tmp_path / "model-F16.gguf")
    assert found["positions"] == 400
    assert found["argmax_agreement"] >= 0.99 and found["kl"] < 1e-5
