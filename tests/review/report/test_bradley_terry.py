"""Strengths against a published fit, and where there are none."""

from __future__ import annotations

import math

import pytest

from medloom.review.report.bradley_terry import Game, strengths

# Agresti, Categorical Data Analysis, table 10.10: wins of American League teams in 1987, and his estimates against Baltimore.
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WINS = ((0, 7, 9, 7, 7, 9, 11), (6, 0, 7, 5, 11, 9, 9), (4, 6, 0, 7, 7, 8, 12), (6, 8, 6, 0, 6, 7, 10), (6, 2, 6, 7, 0, 7, 12),
        (4, 4, 5, 6, 6, 0, 6), (2, 4, 1, 3, 1, 7, 0))
PUBLISHED = (1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0)


def test_the_american_league() -> None:
    games = [Game(one, other, 1.0, (one, other, number)) for one, row in enumerate(WINS) for other, wins in enumerate(row)
             for number in range(wins)]
    found = strengths(games, len(TEAMS))
    assert found is not None
    assert [one.value - found[-1].value for one in found] == pytest.approx(PUBLISHED, abs=0.01)
    assert sum(one.value for one in found) == pytest.approx(0, abs=1e-9)


def test_two_models_are_the_logit_of_their_share_whatever_the_order_or_the_halves() -> None:
    games = [Game(0, 1, 1.0, n) for n in range(6)] + [Game(1, 0, 1.0, n) for n in range(6, 8)] + [Game(0, 1, 0.5, n) for n in range(8, 12)]
    found = strengths(games, 2)
    assert found is not None
    assert found[0].value - found[1].value == pytest.approx(math.log(8 / 4), abs=1e-6)
    assert found[0].low < found[0].value < found[0].high


def test_votes_of_one_cluster_count_as_one() -> None:
    """Ten raters of one mind tell no more of a question than one: the interval stays that of the questions."""
    shares = (1.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    alone = strengths([Game(0, 1, share, q) for q, share in enumerate(shares)], 2)
    many = strengths([Game(0, 1, share, q) for q, share in enumerate(shares) for _ in range(10)], 2)
    assert alone is not None and many is not None
    assert many[0].high - many[0].low == pytest.approx(alone[0].high - alone[0].low, rel=1e-4)


@pytest.mark.parametrize("games", [
    [Game(0, 1, 0.5, number) for number in range(4)],
    [Game(one, other, share, number) for number in range(2) for one, other, share in ((0, 1, 1.0), (1, 2, 1.0), (2, 0, 1.0))],
])
def test_votes_that_cancel_out_leave_an_interval(games: list[Game]) -> None:
    """Ties alone, and a circle that two clusters go around alike."""
    found = strengths(games, 1 + max(game.second for game in games))
    assert found is not None
    for one in found:
        assert one.value == pytest.approx(0, abs=1e-9) and one.high - one.low > 1


@pytest.mark.parametrize(("games", "models"), [
    ([], 2),
    ([Game(0, 1, 1.0, 1), Game(0, 1, 1.0, 2)], 2),  # one never lost
    ([Game(0, 1, 1.0, 1), Game(1, 0, 1.0, 2)], 3),  # the third was never compared
    ([Game(0, 1, 1.0, 1), Game(1, 0, 1.0, 1)], 2),  # one question only
])
def test_where_the_votes_have_no_finite_answer(games: list[Game], models: int) -> None:
    assert strengths(games, models) is None
