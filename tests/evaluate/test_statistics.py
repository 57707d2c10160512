"""The statistics against published examples and against scipy's own numerics."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from medloom.evaluate.statistics import Z95, holm, mcnemar, paired_difference, tango_score, wilson


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


def test_paired_difference_gives_the_published_airway_example() -> None:
    # Bentur et al. 2009 in Fagerland, Lydersen & Laake 2014: (1, 1, 7, 12), Tango's interval -0.517 to -0.026.
    assert paired_difference(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_paired_difference_gives_what_r_propcis_prints() -> None:
    # scoreci.mp(25, 28, 618, conf.level = 0.90), which measures its second count minus its first.
    assert paired_difference(28, 25, 618, z=stats.norm.ppf(0.95)) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 4, 99), (40, 20, 160), (0, 3, 30), (170, 60, 500)])
def test_the_bounds_are_where_a_numerically_fitted_score_test_just_rejects(gained: int, lost: int, n: int) -> None:
    for bound, wanted in zip(paired_difference(gained, lost, n), (Z95, -Z95), strict=True):

        def unlikeliness(only_second: float, bound: float = bound) -> float:
            only_first = only_second + bound
            counts, shares = np.array([gained, lost, n - gained - lost]), np.array([only_first, only_second, 1 - only_first - only_second])
            return float(-(counts * np.log(np.maximum(shares, 1e-300))).sum())

        within = (max(0.0, -bound), (1 - bound) / 2)
        fitted = optimize.minimize_scalar(unlikeliness, bounds=within, method="bounded", options={"xatol": 1e-12}).x
        standard_error = np.sqrt((2 * fitted + bound - bound * bound) / n)
        assert ((gained - lost) / n - bound) / standard_error == pytest.approx(wanted, abs=2e-3)


def test_exchanging_the_models_mirrors_the_interval() -> None:
    low, high = paired_difference(31, 12, 200)
    assert paired_difference(12, 31, 200) == pytest.approx((-high, -low), abs=1e-9)


def test_models_that_never_differ_leave_an_interval_around_zero() -> None:
    low, high = paired_difference(0, 0, 100)
    assert low == pytest.approx(-high) and 0.03 < high < 0.05
    assert tango_score(0, 0, 100, 0.0) == 0.0


def test_mcnemar_is_the_exact_binomial_test() -> None:
    for gained in range(0, 30, 3):
        for lost in range(0, 400, 37):
            theirs = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            assert mcnemar(gained, lost) == pytest.approx(theirs, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 8) == pytest.approx(2 * (1 + 9) / 512)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(3000, 1000) < 1e-200


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
