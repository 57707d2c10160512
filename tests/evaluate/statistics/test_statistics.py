"""The statistics against published examples, scipy's own numerics, and worlds in which the truth is known."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import optimize, stats

from medloom.evaluate.statistics import (
    Clusters,
    bootstrap,
    clustered_error,
    detectable,
    gather,
    holm,
    margins_differ,
    mcnemar,
    paired_difference,
    shares_differ,
    sign_flip,
    tango_score,
)
from medloom.numbers import Z95, wilson


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


def alone(correct: int, n: int) -> Clusters:
    return gather([1.0] * correct + [0.0] * (n - correct), range(n))


@pytest.mark.parametrize(("share", "n", "points"), [
    (0.520, 1273, 1.40), (0.744, 500, 1.95), (0.592, 4183, 0.76), (0.556, 1871, 1.15), (1 / 3, 9, 16.7)])
def test_standard_errors_of_the_published_scores(share: float, n: int, points: float) -> None:
    # MedQA-4, PubMedQA, MedMCQA, MMLU-Medical and TruthfulQA's nine science questions, Meditron-7B.
    assert 100 * (clustered_error(alone(round(share * n), n)) or 0) == pytest.approx(points, abs=0.05 if n < 10 else 0.005)


def test_the_standard_error_of_lone_questions_is_scipys() -> None:
    assert clustered_error(alone(7, 20)) == pytest.approx(stats.sem([1] * 7 + [0] * 13))
    assert clustered_error(alone(1, 1)) is None


def test_a_question_written_ten_times_is_still_one_question() -> None:
    copied = gather([1.0] * 70 + [0.0] * 130, [number // 10 for number in range(200)])
    assert clustered_error(copied) == pytest.approx(clustered_error(alone(7, 20)))
    assert bootstrap(copied) == bootstrap(alone(7, 20))


@pytest.mark.parametrize(("new", "old", "n", "z", "p"), [
    (0.520, 0.496, 1273, None, 0.23), (0.479, 0.440, 1273, None, 0.048), (0.542, 0.537, 1871, None, 0.76),
    (0.744, 0.618, 500, 4.3, None), (0.592, 0.544, 4183, 4.4, None)])
def test_what_the_published_table_shows_without_single_answers(new: float, old: float, n: int, z: float | None, p: float | None) -> None:
    found = shares_differ(new, n, old, n)
    assert z is None or found[0] == pytest.approx(z, abs=0.05)
    assert p is None or found[1] == pytest.approx(p, abs=0.005 if p > 0.1 else 0.0005)
    assert found[1] == pytest.approx(stats.chi2_contingency([[new * n, n - new * n], [old * n, n - old * n]], correction=False).pvalue)


def test_equal_shares_of_all_or_nothing_do_not_differ() -> None:
    assert shares_differ(1.0, 20, 1.0, 30) == (0.0, 1.0)


@pytest.mark.parametrize(("n", "points"), [(1273, 3.9), (500, 6.3), (4183, 2.2), (1871, 3.2)])
def test_detectable_differences_at_a_quarter_discordant(n: int, points: float) -> None:
    assert 100 * detectable(n / 4, n) == pytest.approx(points, abs=0.05)


def test_a_detectable_difference_is_found_four_times_in_five() -> None:
    n, discordant = 500, 0.25
    truth = detectable(discordant * n, n)
    random = np.random.default_rng(3)
    draws = random.multinomial(n, [(discordant + truth) / 2, (discordant - truth) / 2, 1 - discordant], size=2000)
    assert np.mean([mcnemar(int(gained), int(lost)) < 0.05 for gained, lost, _ in draws]) == pytest.approx(0.8, abs=0.04)


def test_the_bootstrap_equals_scipys() -> None:
    values = np.array([1.0] * 31 + [-1.0] * 12 + [0.0] * 157)
    for corrected, method in ((True, "BCa"), (False, "percentile")):
        theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method=method, rng=np.random.default_rng(1)).confidence_interval
        assert bootstrap(gather(values, range(200)), corrected=corrected) == pytest.approx((theirs.low, theirs.high), abs=0.006)


def test_the_bootstrap_of_a_skewed_sample_is_corrected_as_scipys() -> None:
    values = np.random.default_rng(5).lognormal(0, 1.5, 60).round(3)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(1)).confidence_interval
    found = bootstrap(gather(values, range(60)))
    assert found == pytest.approx((theirs.low, theirs.high), rel=0.05)
    assert bootstrap(gather(values, range(60)), corrected=False)[1] < 0.9 * found[1]


def test_the_bootstrap_gives_the_same_bits_in_any_order() -> None:
    random = np.random.default_rng(2)
    values, names = random.integers(-1, 2, 300).astype(float), random.integers(0, 80, 300)
    order = random.permutation(300)
    assert bootstrap(gather(values, names.tolist())) == bootstrap(gather(values[order], names[order].tolist()))
    assert bootstrap(gather(values, names.tolist())) != bootstrap(gather(values, names.tolist()), seed=1)


def test_clusters_that_are_all_alike_leave_nothing_to_draw() -> None:
    assert bootstrap(gather([1.0, 0.0] * 30, [number // 2 for number in range(60)])) == (0.5, 0.5)


def test_intervals_that_know_of_clusters_cover_where_others_do_not() -> None:
    # 40 passages of 5 questions; a passage is easy or hard (0.8 or 0.2), so the truth is one half.
    random = np.random.default_rng(11)
    covered = np.zeros(3)
    worlds = 400
    for _ in range(worlds):
        sums = random.binomial(5, random.choice([0.2, 0.8], size=40)).astype(float)
        clusters = Clusters(sums, np.full(40, 5.0))
        error = clustered_error(clusters) or 0
        bounds = [wilson(float(sums.sum()), 200), bootstrap(clusters, resamples=1000),
                  (clusters.mean - stats.t.ppf(0.975, 39) * error, clusters.mean + stats.t.ppf(0.975, 39) * error)]
        covered += [low <= 0.5 <= high for low, high in bounds]
    naive, drawn, clustered = covered / worlds
    assert naive < 0.82
    assert 0.92 < drawn < 0.98 and 0.92 < clustered < 0.98


def test_mcnemar_is_the_sign_flip_of_lone_questions() -> None:
    for gained, lost in ((5, 0), (1, 8), (20, 5), (0, 0), (7, 7), (130, 90), (301, 420)):
        differences = [Fraction(1)] * gained + [Fraction(-1)] * lost + [Fraction(0)] * 50
        assert sign_flip(differences) == pytest.approx(mcnemar(gained, lost), rel=1e-9)


def test_sign_flips_by_hand() -> None:
    # Of the eight signings of 3, 2 and 1/2 those of 5.5 and 4.5 reach 4.5, on either side.
    assert sign_flip([Fraction(3), Fraction(2), Fraction(-1, 2)]) == pytest.approx(4 / 8)
    assert sign_flip([]) == 1.0


def test_sign_flips_drawn_and_enumerated_agree_with_scipys_permutation_test() -> None:
    differences = [Fraction(number, 3) for number in (3, 3, 2, 2, 1, 1, 1, 1, -1, -1, -2, 3, 1)]
    exact = sign_flip(differences)
    theirs = stats.permutation_test((np.array([float(3 * value) for value in differences]), np.zeros(len(differences))),
                                    lambda x, y, axis: np.sum(x - y, axis=axis), permutation_type="samples", vectorized=True)
    assert exact == pytest.approx(theirs.pvalue)
    assert sign_flip(differences, exact=0) == pytest.approx(exact, abs=0.005)
    assert sign_flip(differences, exact=0) == sign_flip(differences[::-1], exact=0)


def test_sign_flips_of_clusters_keep_their_level_where_mcnemar_does_not() -> None:
    random = np.random.default_rng(8)
    false = np.zeros(2)
    for _ in range(300):  # 60 passages; on each, either model or neither is better at all of its five questions
        sums = 5 * random.choice([-1, 0, 1], size=60)
        false += [sign_flip([Fraction(int(value)) for value in sums]) < 0.05,
                  mcnemar(5 * int((sums > 0).sum()), 5 * int((sums < 0).sum())) < 0.05]
    assert false[0] / 300 < 0.08 and false[1] / 300 > 0.25


def test_choices_like_the_right_answers_are_no_sign_of_a_preferred_place() -> None:
    golds = [number % 4 for number in range(200)]
    assert margins_differ(golds, golds) is None
    assert margins_differ(golds, [(gold + 1) % 4 for gold in golds]) == pytest.approx(1.0)
    assert (margins_differ([0] * 200, golds) or 0) < 1e-20
    assert margins_differ([], []) is None


def test_two_options_are_compared_as_by_mcnemars_chi_square() -> None:
    choices, golds = [0] * 50 + [1] * 50, [0] * 40 + [1] * 10 + [0] * 25 + [1] * 25
    assert margins_differ(choices, golds) == pytest.approx(stats.chi2.sf((10 - 25) ** 2 / 35, 1))


def test_options_preferred_give_the_published_statistic() -> None:
    # Unaided distance vision of right and left eyes, 7477 women (Stuart 1955): Q = 11.96 on 3 degrees of freedom.
    table = [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
    pairs = [(row, column) for row in range(4) for column in range(4) for _ in range(table[row][column])]
    assert margins_differ([row for row, _ in pairs], [column for _, column in pairs]) == pytest.approx(stats.chi2.sf(11.957, 3), rel=1e-3)
