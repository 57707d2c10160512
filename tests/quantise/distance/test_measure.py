"""What a model says is written once, and every file is held against it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from medloom.ledger import Refusal
from medloom.model import load_model, load_tokenizer
from medloom.quantise import export_gguf, measure, read_reference, write_reference
from medloom.quantise.distance.llama import Decoder
from medloom.quantise.distance.measure import interval


def test_the_reference_is_what_the_whole_network_says(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    """Read a layer at a time and several texts at once, padded: the same as the network alone on one text."""
    figures = write_reference(stories, texts, 150, tmp_path)
    found, tokenizer, network = read_reference(tmp_path), load_tokenizer(stories), load_model(stories)
    assert found.positions == figures["positions"] == 150 and len(found.sequences) == figures["texts"] == 2
    bits, size = 0.0, 0
    for (rows, ids), text in zip(found.texts(), texts, strict=True):
        assert list(ids) == tokenizer.encode(text, bos=True)[: len(ids)]
        with torch.inference_mode():
            whole = network.logits(network(torch.tensor([ids])))[0].double().log_softmax(-1).numpy()
        np.testing.assert_allclose(found.logprobs[rows], whole, atol=2e-5)
        bits -= sum(float(whole[place, token]) for place, token in enumerate(ids[1:])) / math.log(2)
        size += len(tokenizer.decode(list(ids[1:])).encode())
    assert figures["bits_per_byte"] == pytest.approx(bits / size, rel=1e-6)


def test_texts_without_a_token_are_refused(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no text"):
        write_reference(stories, [""], 8, tmp_path)


def test_a_file_is_timed_and_its_bits_are_the_models(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    export_gguf(stories, tmp_path / "model.gguf", "F32")
    reference = write_reference(stories, texts, 200, tmp_path)
    found = measure(read_reference(tmp_path), tmp_path / "model.gguf")
    assert found["bits_per_byte"] == pytest.approx(reference["bits_per_byte"], rel=1e-5)
    assert found["broken"] == 0 and found["texts"] == 2
    assert found["kl_low"] <= found["kl"] <= found["kl_high"]
    assert found["write_tokens_per_second"] > 0 and found["read_tokens_per_second"] > 0


def test_one_token_at_a_time_says_what_all_at_once_do(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    export_gguf(stories, tmp_path / "model.gguf", "F32")
    ids = load_tokenizer(stories).encode(texts[0], bos=True)[:12]
    with Decoder(tmp_path / "model.gguf", context=12) as decoder:
        whole = decoder.logits(ids)
        begun = decoder.logits(ids[:8])
        singly = [decoder.logits([token], after=8 + place)[0] for place, token in enumerate(ids[8:])]
        np.testing.assert_allclose(np.stack([*begun, *singly]), whole, atol=1e-4)
        with pytest.raises(ValueError, match="context of 12"):
            decoder.logits([1], after=12)


def test_the_interval_covers_the_mean_of_texts_that_hang_together() -> None:
    """Positions of a text share much: the interval that knows it covers the true mean 19 times in 20, the plain one rarely."""
    random = np.random.default_rng(3)
    covered = plain = 0
    for _ in range(400):
        texts = [random.normal(1 + random.normal(), 0.1, size=random.integers(20, 40)) for _ in range(12)]
        low, high = interval(texts)
        covered += low <= 1 <= high  # type: ignore[operator]
        values = np.concatenate(texts)
        plain += abs(values.mean() - 1) <= 1.96 * values.std() / math.sqrt(len(values))
    assert 0.91 <= covered / 400 <= 0.98
    assert plain / 400 < 0.6
    assert interval([np.ones(5)]) == (None, None)
