"""Probes: real steps, few and short."""

from __future__ import annotations

import pytest
import torch

from medloom.ledger import Refusal
from medloom.model import ModelConfig
from medloom.recipe import Finetuning, Layout, Lora, Training
from medloom.train import probe, probing
from medloom.train.held import Held, in_use

SHAPE = ModelConfig(256, 64, 160, 6, 4, 2, 128, tied=True)
STAGE = Training(length=64, batch=8, micro_batch=4, precision="fp32")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "STEPS", 4)


def test_a_step_is_its_micro_batches_and_an_update() -> None:
    found = probe(SHAPE, Layout(), STAGE, SHAPE.layers)
    assert (found.steps, found.layers, found.micro_batches) == (4, (6,), 2)
    assert found.seconds == pytest.approx(2 * found.micro_seconds + found.update_seconds)
    assert 0 < found.update_seconds < found.micro_seconds
    assert "6 layers" not in str(found), "the whole network was timed"


def test_a_network_that_does_not_fit_is_reckoned_from_two_slabs() -> None:
    found = probe(SHAPE, Layout(), STAGE, 4)
    assert found.layers == (2, 4)
    assert found.memory_gb is None
    assert "with 2 and 4 of 6 layers" in str(found)
    with pytest.raises(Refusal, match="not even one layer"):
        probe(SHAPE, Layout(), STAGE, 0)


def test_the_ranks_of_a_layout_share_the_time() -> None:
    alone = probe(SHAPE, Layout(), STAGE, 6)
    split = probe(SHAPE, Layout(data=2, tensor=2), STAGE, 6)
    assert split.micro_seconds < alone.micro_seconds
    assert split.memory_gb is None, "one process here does not hold what a rank would"


def test_adapters_are_probed_as_adapters() -> None:
    lora = Finetuning(**STAGE.model_dump(exclude={"epochs"}), files=("a.jsonl",), lora=Lora(rank=2))
    found, whole = probe(SHAPE, Layout(), lora, 6), probe(SHAPE, Layout(), STAGE, 6)
    assert found.memory_gb is not None and whole.memory_gb is not None
    assert found.memory_gb < whole.memory_gb


@pytest.mark.skipif(in_use() is None, reason="needs glibc 2.33 or newer, which counts the bytes that it has given out")
def test_what_tensors_take_is_counted_and_not_what_was_there() -> None:
    import time

    before, mine = torch.ones(1_000_000), torch.ones(2_000_000)
    with Held(torch.device("cpu"), [mine]) as held:
        more = torch.ones(5_000_000)
        time.sleep(0.2)
        del more
    assert before.numel() == 1_000_000
    assert held.peak_gb == pytest.approx(4 * 7e6 / 1e9, rel=0.02)
