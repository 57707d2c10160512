"""Shares: their interval."""

from __future__ import annotations

import pytest
from scipy import stats

from medloom.numbers import wilson


@pytest.mark.parametrize(("correct", "n", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_wilson_gives_newcombe_1998_table_1(correct: int, n: int, low: float, high: float) -> None:
    assert wilson(correct, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_equals_scipy() -> None:
    for n in (1, 7, 99, 1273):
        for correct in {0, 1, n // 3, n}:
            theirs = stats.binomtest(correct, n).proportion_ci(method="wilson")
            assert wilson(correct, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_tells_nothing_from_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
