"""Calibration by hand, and on answers drawn from the very probabilities that are claimed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medloom.evaluate.scores.calibration import calibrate, softmax
from medloom.evaluate.scores.scoring import Outcome


def answered(shares: list[float], gold: int, name: object = "") -> Outcome:
    choice = shares.index(max(shares))
    return Outcome(str(name), gold, choice, len(shares), logprobs=tuple(math.log(share) - 3 for share in shares))


FOUR = [answered([0.9, 0.1], 0, 1), answered([0.4, 0.6], 0, 2), answered([0.7, 0.2, 0.1], 0, 3), answered([0.5, 0.3, 0.2], 2, 4)]


def test_probabilities_are_of_the_options_alone() -> None:
    assert softmax([math.log(0.01), math.log(0.03)]) == pytest.approx([0.25, 0.75])
    assert softmax([-1000.0, -math.inf]) == pytest.approx([1.0, 0.0])
    assert softmax([-math.inf, -math.inf]) == pytest.approx([0.5, 0.5])


def test_a_calibration_by_hand() -> None:
    found = calibrate([*FOUR, Outcome("5", 0, 1, 4)])
    assert found is not None and (found.n, found.without) == (4, 1)
    assert (found.accuracy, found.confidence, found.overconfidence) == pytest.approx((0.5, 0.675, 0.175))
    # Each confidence has a bin of fifteen to itself: 0.9, 0.6, 0.7, 0.5 against right, wrong, right, wrong.
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.3 + 0.5) / 4)
    assert found.brier == pytest.approx(((0.01 + 0.01) + (0.36 + 0.36) + (0.09 + 0.04 + 0.01) + (0.25 + 0.09 + 0.64)) / 4)
    bins = np.array([(one.n, one.confidence, one.accuracy) for one in found.bins])
    assert bins == pytest.approx(np.array([(1, 0.5, 0), (1, 0.6, 0), (1, 0.7, 1), (1, 0.9, 1)]))
    # By confidence: right, right, wrong, wrong.
    assert np.array(found.curve) == pytest.approx(np.array([(0.25, 0), (0.5, 0), (0.75, 1 / 3), (1, 0.5)]))
    assert found.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found.accuracy_at == pytest.approx({"50%": 1.0, "80%": 0.5, "90%": 0.5})


def test_a_bin_holds_its_upper_edge() -> None:
    third = calibrate([Outcome("1", 0, 0, 3, logprobs=(-1.0, -1.0, -1.0))])
    assert third is not None and (third.bins[0].low, third.bins[0].high) == pytest.approx((4 / 15, 5 / 15))


def test_within_a_bin_errors_cancel_and_between_bins_they_do_not() -> None:
    same = calibrate([answered([0.61, 0.39], int(number < 4), number) for number in range(10)])
    assert same is not None and same.ece == pytest.approx(0.01)  # six of ten right
    apart = calibrate([answered([0.6, 0.4], 1, 1), answered([0.8, 0.2], 0, 2)])
    assert apart is not None and apart.ece == pytest.approx((0.6 + 0.2) / 2) and apart.overconfidence == pytest.approx(0.2)


def test_the_order_of_equally_confident_answers_does_not_matter() -> None:
    alike = [answered([0.7, 0.3], number % 2, number) for number in range(20)]
    assert calibrate(alike) == calibrate(sorted(alike, key=lambda outcome: outcome.gold))
    found = calibrate(alike)
    assert found is not None and found.aurc == pytest.approx(0.5)


def test_who_says_what_is_true_is_calibrated_and_who_exaggerates_is_not() -> None:
    random = np.random.default_rng(6)
    shares = random.dirichlet([0.7] * 4, 4000)
    golds = [int(random.choice(4, p=share)) for share in shares]
    honest = calibrate([answered(share.tolist(), gold, number) for number, (share, gold) in enumerate(zip(shares, golds, strict=True))])
    loud = shares**3 / (shares**3).sum(axis=1, keepdims=True)
    boaster = calibrate([answered(share.tolist(), gold, number) for number, (share, gold) in enumerate(zip(loud, golds, strict=True))])
    assert honest is not None and boaster is not None
    assert honest.ece < 0.03 and honest.adaptive_ece < 0.03 and abs(honest.overconfidence) < 0.02
    assert boaster.ece > 0.1 and boaster.adaptive_ece > 0.1 and boaster.overconfidence > 0.1
    assert boaster.accuracy == honest.accuracy and boaster.brier > honest.brier
    assert honest.brier == pytest.approx(float(np.mean(1 - (shares**2).sum(axis=1))), abs=0.02)  # the expectation under the truth
    assert honest.accuracy_at["50%"] > honest.accuracy_at["80%"] > honest.accuracy_at["90%"] > honest.accuracy
    assert len(honest.curve) == 100 and honest.curve[-1] == pytest.approx((1.0, 1 - honest.accuracy))


def test_answers_without_log_probabilities_have_no_calibration() -> None:
    assert calibrate([Outcome("1", 0, 0, 4)]) is None
    assert calibrate([]) is None
