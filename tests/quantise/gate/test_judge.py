"""A file passes only where the interval rules a loss out, fails only where it rules it in, and nothing is shown by few questions."""

from __future__ import annotations

from typing import Any

import pytest

from medloom.evaluate.statistics import paired_difference
from medloom.quantise import Margins, judge, smallest

SOUND = {"broken": 0, "positions": 2000, "kl": 0.002, "kl_low": 0.001, "kl_high": 0.003}


def asked(n: int, gained: int, lost: int, benchmark: str = "all") -> dict[str, Any]:
    low, high = paired_difference(gained, lost, n)
    return {"benchmark": benchmark, "n": n, "difference": (gained - lost) / n, "low": low, "high": high, "gained": gained, "lost": lost}


def verdict(measured: dict[str, Any] = SOUND, pooled: dict[str, Any] | None = None, *each: dict[str, Any]) -> str:
    return judge("Q4_K_M", measured, pooled, each, Margins()).verdict


def test_no_change_in_381_questions_shows_that_not_one_point_is_lost_and_in_380_does_not() -> None:
    """z² / (n + z²) < 0.01 from n = 381 on: the score interval's bound where no answer changed."""
    assert verdict(pooled=asked(381, 0, 0)) == "passes"
    found = judge("Q4_K_M", SOUND, asked(380, 0, 0), (), Margins())
    assert found.verdict == "not shown"
    assert "about 381 such questions" in found.findings[-1].reason


def test_no_difference_found_is_no_pass() -> None:
    assert verdict(pooled=asked(45, 1, 0)) == "not shown"
    assert verdict(pooled=None) == "not shown"
    assert verdict({**SOUND, "kl_low": None, "kl_high": None}, asked(2000, 0, 0)) == "not shown"  # one text tells no interval


def test_a_loss_fails() -> None:
    assert verdict(pooled=asked(1000, 10, 60)) == "fails"
    assert verdict({**SOUND, "kl": 0.5, "kl_low": 0.4, "kl_high": 0.6}, asked(2000, 0, 0)) == "fails"
    assert verdict({**SOUND, "broken": 3}, asked(2000, 0, 0)) == "fails"
    assert verdict({**SOUND, "broken": 2000, "kl": None, "kl_low": None, "kl_high": None}, asked(2000, 0, 0)) == "fails"


def test_a_loss_on_one_benchmark_is_not_hidden_by_the_others() -> None:
    pooled = asked(10_000, 80, 60)
    assert verdict(SOUND, pooled, asked(9_800, 80, 20, "easy"), asked(200, 0, 40, "doses")) == "fails"
    assert verdict(SOUND, pooled, asked(9_800, 80, 20, "easy"), asked(200, 0, 1, "doses")) == "passes"


@pytest.mark.parametrize(("low", "high", "wanted"), [(0.0, 0.0099, "passes"), (0.002, 0.02, "not shown"), (0.011, 0.02, "fails")])
def test_the_divergence_is_judged_by_its_interval(low: float, high: float, wanted: str) -> None:
    assert verdict({**SOUND, "kl": (low + high) / 2, "kl_low": low, "kl_high": high}, asked(2000, 0, 0)) == wanted


def test_the_smallest_that_passes_ships() -> None:
    good, open_ = (judge("", SOUND, asked(n, 0, 0), (), Margins()) for n in (2000, 50))
    found = {"F16": good, "Q8_0": good, "Q4_K_M": open_}
    sizes = {"F16": 100, "Q8_0": 50, "Q4_K_M": 30}
    assert smallest(found, sizes) == "Q8_0"
    assert smallest({"Q4_K_M": open_}, sizes) is None
