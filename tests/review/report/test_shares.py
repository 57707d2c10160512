"""The interval of a win rate: Wilson's where votes are independent, that of the questions where raters are of one mind."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.numbers import wilson
from medloom.review.report.shares import share


def test_of_one_mind_many_raters_count_as_one() -> None:
    values = [1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]
    alone = share(values, list(range(8)))
    many = share([value for value in values for _ in range(12)], [question for question in range(8) for _ in range(12)])
    assert alone is not None and many is not None
    assert many.value == alone.value and many.n == 96
    assert many.low == pytest.approx(alone.low, abs=0.06) and many.low <= alone.low, "how far questions lie apart is a guess from eight"


def test_without_spread_it_is_wilson_s_of_the_questions() -> None:
    found = share([1.0] * 30, [number // 3 for number in range(30)])
    assert found is not None and (found.low, found.high) == wilson(10, 10)
    assert share([], []) is None


def test_it_covers_the_truth_at_its_level() -> None:
    """Of 800 studies of 25 questions by 4 raters who agree much, the 95 % interval holds the truth in about 95 %."""
    draw = np.random.default_rng(5)
    held = 0
    for _ in range(800):
        chances = draw.beta(1.2, 0.8, 25)  # of each question, that the first is preferred: 0.6 in the mean
        votes = draw.random((25, 4)) < chances[:, None]
        found = share(votes.ravel().astype(float).tolist(), np.repeat(np.arange(25), 4).tolist())
        assert found is not None
        held += found.low <= 0.6 <= found.high
    assert 0.935 <= held / 800 <= 0.985
