"""A plan against what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.ledger import Refusal
from medloom.plan import Pace, against, plan
from medloom.recipe import read_recipe

MEDITRON = Path(__file__).resolve().parents[2] / "recipes" / "meditron-7b.toml"
CARD = {"name": "pretrain",
        "figures": {"tokens": 48_100_000_000, "training_seconds": 73.6 * 3600, "saving_seconds": 0.0, "memory_gb": 40.0,
                    "tokens_per_second": 48.1e9 / 73.6 / 3600}}


def test_the_cards_hours_give_the_cards_utilisation() -> None:
    found = against(CARD, plan(read_recipe(MEDITRON), utilisation=0.40))
    assert found["reached"] == pytest.approx(0.368, abs=5e-4)
    assert found["seconds_ratio"] == pytest.approx(0.368 / 0.40, rel=2e-3)
    assert found["memory_ratio"] == pytest.approx(found["planned_memory_gb"] / 40)
    assert not found["measured_before"]


def test_a_probe_s_pace_tells_time_and_memory() -> None:
    probed = plan(read_recipe(MEDITRON), paces={"pretrain": Pace(18.05, 41.0, "probed")})
    assert probed.hours == pytest.approx(73.6, rel=1e-3) and probed.measured
    found = against(CARD, probed)
    assert found["seconds_ratio"] == pytest.approx(1, rel=1e-3)
    assert found["planned_memory_gb"] == 41.0


def test_of_a_resumed_run_all_steps_count_by_the_pace_of_the_last_ones() -> None:
    half = {**CARD, "figures": {**CARD["figures"], "training_seconds": 36.8 * 3600}}  # type: ignore[dict-item]
    assert against(half, plan(read_recipe(MEDITRON)))["seconds"] == pytest.approx(73.6 * 3600)


def test_a_stage_that_was_not_planned_is_refused() -> None:
    with pytest.raises(Refusal, match="no stage finetune"):
        against({**CARD, "name": "finetune"}, plan(read_recipe(MEDITRON)))
