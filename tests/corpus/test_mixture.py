"""The order of training gives every source its share, whatever the lengths of its documents."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.corpus.mixture import Stock, mix
from medloom.ledger import Refusal

RNG = np.random.default_rng(3)
LENGTHS = np.concatenate([RNG.integers(20, 400, 200), RNG.integers(100, 2000, 50), RNG.integers(20, 400, 30)])
SOURCES = ["papers"] * 200 + ["replay"] * 50 + ["web"] * 30
STOCK = Stock([f"document {i}" for i in range(280)], SOURCES, LENGTHS.astype(np.int64))


def test_shares_of_tokens_are_met_at_any_time() -> None:
    order, account = mix(STOCK, {"papers": None, "replay": 0.25, "web": 0.1}, tokens=150_000, epochs=1, seed=1)
    shares = {source["name"]: source["share"] for source in account["sources"]}
    assert shares == pytest.approx({"papers": 0.65, "replay": 0.25, "web": 0.1}, abs=0.01)
    first = order[:len(order) // 2]
    half = LENGTHS[first][np.array(SOURCES)[first] == "replay"].sum() / LENGTHS[first].sum()
    assert half == pytest.approx(0.25, abs=0.03)


def test_no_document_comes_again_before_all_of_its_source_did() -> None:
    order, _ = mix(STOCK, {"papers": None, "replay": 0.25, "web": 0.1}, tokens=150_000, epochs=1, seed=1)
    for source in ("papers", "replay", "web"):
        times = np.bincount(order, minlength=280)[np.array(SOURCES) == source]
        assert times.max() - times.min() <= 1


def test_a_share_of_nothing_is_held_out_alone() -> None:
    order, account = mix(STOCK, {"papers": None, "replay": 0.0, "web": 0.1}, tokens=None, epochs=1, seed=1)
    assert "replay" not in {SOURCES[number] for number in order}
    assert sorted(n for n in order if SOURCES[n] == "papers") == list(range(200)), "the others enter as if it were not there"
    assert [source["tokens"] for source in account["sources"] if source["name"] == "replay"] == [0]


def test_the_order_follows_the_seed_and_nothing_else() -> None:
    shares = {"papers": None, "replay": 0.25, "web": 0.1}
    one, again, other = (mix(STOCK, shares, tokens=80_000, epochs=1, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_share_of_an_empty_source_is_refused() -> None:
    with pytest.raises(Refusal, match=r"corpus\.sources\.books: has a share of 0\.1 and no document"):
        mix(STOCK, {"papers": None, "replay": None, "web": None, "books": 0.1}, tokens=1000, epochs=1, seed=1)
