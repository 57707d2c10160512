"""The order of training gives every source its share, whatever the lengths of its documents."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.corpus.mixture import Stock, mix
from medloom.corpus.order import name_keys
from medloom.corpus.publication_types import NEVER, score
from medloom.ledger import Refusal
from medloom.recipe import Source

RNG = np.random.default_rng(3)
LENGTHS = np.concatenate([RNG.integers(20, 400, 200), RNG.integers(100, 2000, 50), RNG.integers(20, 400, 30)])
NAMES = ("papers", "replay", "web")
SOURCES = np.repeat([0, 1, 2], [200, 50, 30]).astype(np.int16)
KEYS = name_keys(f"document {i}" for i in range(280))
STOCK = Stock(KEYS, SOURCES, LENGTHS.astype(np.int64), np.ones(280, np.float32))


def sources(**measures: dict[str, float]) -> list[Source]:
    return [Source.model_validate({"name": name, "format": "text", "path": "x", **measures.get(name, {})}) for name in NAMES]


SHARED = sources(replay={"share": 0.25}, web={"share": 0.1})


def test_shares_of_tokens_are_met_at_any_time() -> None:
    order, account = mix(STOCK, SHARED, tokens=150_000, epochs=1, seed=1)
    shares = {source["name"]: source["share"] for source in account["sources"]}
    assert shares == pytest.approx({"papers": 0.65, "replay": 0.25, "web": 0.1}, abs=0.01)
    first = order[:len(order) // 2]
    half = LENGTHS[first][SOURCES[first] == 1].sum() / LENGTHS[first].sum()
    assert half == pytest.approx(0.25, abs=0.03)


def test_no_document_comes_again_before_all_of_its_source_did() -> None:
    order, _ = mix(STOCK, SHARED, tokens=150_000, epochs=1, seed=1)
    for source in range(3):
        times = np.bincount(order, minlength=280)[source == SOURCES]
        assert times.max() - times.min() <= 1


def test_a_share_of_nothing_is_held_out_alone() -> None:
    order, account = mix(STOCK, sources(replay={"share": 0}, web={"share": 0.1}), tokens=None, epochs=1, seed=1)
    assert 1 not in SOURCES[order]
    assert sorted(n for n in order if SOURCES[n] == 0) == list(range(200)), "the others enter as if it were not there"
    assert account["sources"][1]["tokens"] == 0


def test_a_budget_is_met_to_half_a_document() -> None:
    order, account = mix(STOCK, sources(replay={"tokens": 9_000}), tokens=None, epochs=2, seed=1)
    assert abs(account["sources"][1]["tokens"] - 9_000) <= LENGTHS[SOURCES == 1].max() / 2
    assert (np.bincount(order, minlength=280)[SOURCES != 1] == 2).all(), "the others come twice in two epochs"
    with pytest.raises(Refusal, match="more than there is room for in 5,000"):
        mix(STOCK, sources(replay={"tokens": 9_000}), tokens=5_000, epochs=1, seed=1)


def test_a_repeated_source_comes_so_many_times_an_epoch() -> None:
    order, _ = mix(STOCK, sources(papers={"repeat": 2.5}), tokens=None, epochs=2, seed=1)
    times = np.bincount(order, minlength=280)
    assert set(times[SOURCES == 0].tolist()) <= {4, 5, 6} and times[SOURCES == 0].sum() == pytest.approx(5 * 200, rel=0.05)
    assert (times[SOURCES != 0] == 2).all()


def test_the_originals_score_repeats_guidelines_and_leaves_animals_out() -> None:
    kinds = ((), ("Review",), ("Practice Guideline", "Review"), ("Review", "Animals"), ("Case Reports",))
    scores = [score(categories) for categories in kinds]
    assert scores == [0, 0.5, 1.5, NEVER, 0]
    copies = np.resize(np.array([0.0 if s == NEVER else 1 + s for s in scores], np.float32), 280)
    stock = Stock(KEYS, SOURCES, LENGTHS.astype(np.int64), copies)
    times = np.bincount(mix(stock, sources(), tokens=None, epochs=1, seed=1)[0], minlength=280)
    assert (times[copies == 0] == 0).all() and (times[copies == 1] == 1).all()
    assert set(times[copies == 2.5].tolist()) == {2, 3} and times[copies == 1.5].mean() == pytest.approx(1.5, abs=0.2)


def test_the_order_follows_the_seed_and_nothing_else() -> None:
    one, again, other = (mix(STOCK, SHARED, tokens=80_000, epochs=1, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_a_share_of_an_empty_source_is_refused() -> None:
    few = Stock(KEYS[:200], SOURCES[:200], LENGTHS[:200].astype(np.int64), np.ones(200, np.float32))
    with pytest.raises(Refusal, match=r"corpus\.sources\.replay: is asked for and has no document"):
        mix(few, SHARED, tokens=1000, epochs=1, seed=1)
