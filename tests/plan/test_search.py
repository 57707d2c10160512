"""Search of layouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.ledger import Refusal
from medloom.plan import device, plan, search
from medloom.recipe import read_recipe

MEDITRON = Path(__file__).resolve().parents[2] / "recipes" / "meditron-7b.toml"


def test_every_layout_found_fits_and_can_be_taken() -> None:
    found, refused = search(read_recipe(MEDITRON), device("A100-80G"), 64)
    assert refused["need more memory"] > 0
    for one in found:
        took = plan(read_recipe(MEDITRON, (*one.overrides, f"finetune.micro_batch={one.layout.data}")))
        assert took.memory_per_rank_gb == pytest.approx(one.memory.total_gb)
        assert took.ranks == 64 and took.fits
    assert [one.seconds for one in found] == sorted(one.seconds for one in found)
    assert all(one.seconds == pytest.approx(one.computing + one.idle + one.tensor_messages + one.data_messages) for one in found)
    assert (16, 4, 1) in {(one.layout.data, one.layout.tensor, one.layout.pipeline) for one in found}, "the original's own"


def test_sharding_alone_is_quicker_than_tensors_between_nodes_linked_by_nvlink() -> None:
    """What docs/training.md recommends: shard first, tensor parallelism where it must be."""
    found, _ = search(read_recipe(MEDITRON), device("A100-80G"), 64)
    by_grid = {(one.layout.tensor, one.layout.pipeline): one for one in found}
    assert by_grid[1, 1].seconds < by_grid[4, 1].seconds < by_grid[8, 1].seconds
    assert found[0].layout.data == 64


def test_where_nothing_fits_it_says_why() -> None:
    seventy = ("base.path=Llama-2-70b-hf", "base.name=meta-llama/Llama-2-70b-hf")
    with pytest.raises(Refusal, match=r"need more memory.*take more devices"):
        search(read_recipe(MEDITRON, seventy), device("RTX-4090"), 2)
