"""What the plan says that tensors take, against torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from medloom.model import Llama, ModelConfig
from medloom.plan.memory import Way, kept, memory
from medloom.recipe import Layout, Lora, Training
from medloom.train.adapters import adapt
from medloom.train.held import in_use
from medloom.train.parallel import recompute
from medloom.train.probing import probe

SHAPE = {"vocab_size": 128, "hidden_size": 64, "intermediate_size": 144, "heads": 4, "kv_heads": 2, "max_positions": 512}
ROWS, LENGTH = 2, 128
FLOAT32 = Way(4, compiled=False, accelerated=False, cast=False)
CAST = Way(2, compiled=False, accelerated=False, cast=True)


@contextmanager
def saved(weights: set[int]) -> Iterator[dict[int, int]]:
    """Bytes of each storage that is kept for the gradient; weights, and their copies in bfloat16, are none."""
    found: dict[int, int] = {}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape[0] in (ROWS, ROWS * LENGTH):
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # or its place would be another's
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


def kept_by_a_layer(layout: Layout, *, cast: bool = False, lora: Lora | None = None, backend: str | None = None) -> float:
    """Bytes a token that one layer more keeps."""
    sums = []
    for layers in (2, 3):
        network = Llama(ModelConfig(**SHAPE, layers=layers))  # type: ignore[arg-type]
        network.initialise(0)
        if backend is not None:
            network = network.to(torch.bfloat16)
        if lora is not None:
            adapt(network, lora, 0)
        if layout.recompute != "none":
            recompute(network, layout.recompute == "full")
        for block in network.model.layers.values() if backend is not None else ():
            block.compile(backend=backend)
        weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
        tokens = torch.randint(SHAPE["vocab_size"], (ROWS, LENGTH))
        segments = torch.zeros_like(tokens)
        segments[:, 50:] = 1
        with torch.autocast("cpu", torch.bfloat16, enabled=cast), saved(weights) as found:
            network(tokens, positions=torch.arange(LENGTH).expand(ROWS, LENGTH), segments=segments)
        sums.append(sum(found.values()))
    return (sums[1] - sums[0]) / (ROWS * LENGTH)


@pytest.mark.parametrize(("way", "lora"), [(FLOAT32, None), (CAST, None), (FLOAT32, Lora(rank=4))])
def test_a_block_keeps_what_torch_keeps_of_it(way: Way, lora: Lora | None) -> None:
    layout = Layout()
    config = ModelConfig(**SHAPE, layers=2)  # type: ignore[arg-type]
    assert kept(config, way, layout, lora).held == pytest.approx(kept_by_a_layer(layout, cast=way.cast, lora=lora), rel=0.02)


def test_recomputed_whole_it_keeps_its_input() -> None:
    layout = Layout(recompute="full")
    config = ModelConfig(**SHAPE, layers=2)  # type: ignore[arg-type]
    assert kept(config, FLOAT32, layout).held == kept_by_a_layer(layout) == 4 * SHAPE["hidden_size"]


@pytest.mark.slow
def test_compiled_it_keeps_what_the_partitioner_chose() -> None:
    config = ModelConfig(**SHAPE, layers=2)  # type: ignore[arg-type]
    way = Way(2, compiled=True, accelerated=True, cast=False)
    found = kept_by_a_layer(Layout(), backend="aot_eager_decomp_partition")
    assert kept(config, way, Layout()).held == pytest.approx(found, rel=0.03)


@pytest.mark.slow
@pytest.mark.skipif(in_use() is None, reason="needs glibc 2.33 or newer, which counts the bytes that it has given out")
@pytest.mark.parametrize(("recompute", "batch"), [("none", 2), ("none", 4), ("selective", 2), ("full", 2)])
def test_a_training_step_takes_within_a_tenth_of_the_plan(recompute: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of 13 M parameters, alone on a CPU: states, activations and logits each a good part of the whole."""
    config = ModelConfig(8192, 384, 1024, 5, 6, 3, 512, tied=True)
    settings, layout = Training(length=256, batch=batch, micro_batch=2, precision="fp32"), Layout(recompute=recompute)  # type: ignore[arg-type]
    monkeypatch.setattr("medloom.train.probing.STEPS", 2)  # more of them would only be timed better
    found = probe(config, layout, settings, config.layers)
    planned = memory(config, layout, FLOAT32, rows=2, length=256, accumulation=batch // 2)
    assert found.memory_gb == pytest.approx(planned.total_gb, rel=0.10)
