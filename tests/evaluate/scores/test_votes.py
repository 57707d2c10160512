"""Votes of branches, held against counting every way in which they could still go."""

from __future__ import annotations

from collections import Counter
from itertools import product

from medloom.evaluate.scores.votes import least_more, self_consistent, settled

CHOICES = (0, 1, 2, None)


def test_the_most_votes_win_and_what_was_not_read_does_not_vote() -> None:
    assert self_consistent([None, None, 2, None]) == (2, False)
    assert self_consistent([1, 2, 2, 1]) == (1, True) and self_consistent([2, 1, 1, 2]) == (2, True)
    assert self_consistent([None, None]) == (None, False) == self_consistent([])


def test_what_is_settled_no_further_votes_can_change() -> None:
    for drawn in range(6):
        left = 6 - drawn
        for votes in product(CHOICES, repeat=drawn):
            counts = Counter(vote for vote in votes if vote is not None)
            ends = {self_consistent([*votes, *more]) for more in product(CHOICES, repeat=left)}
            assert settled(counts, left) == (len(ends) == 1), votes


def test_no_wave_is_larger_than_needed_to_settle() -> None:
    for drawn in range(6):
        left = 6 - drawn
        for votes in product(CHOICES, repeat=drawn):
            counts = Counter(vote for vote in votes if vote is not None)
            if settled(counts, left):
                continue
            more = least_more(counts, left)
            assert 1 <= more <= left
            fewer = (settled(Counter([*(vote for vote in votes if vote is not None), *extra]), left - few)
                     for few in range(1, more) for extra in product(CHOICES[:3], repeat=few))
            assert not any(fewer)


def test_stopping_early_changes_no_answer() -> None:
    for votes in product(CHOICES, repeat=6):
        drawn = 0
        while drawn < 6:
            counts = Counter(vote for vote in votes[:drawn] if vote is not None)
            if settled(counts, 6 - drawn):
                break
            drawn += least_more(counts, 6 - drawn)
        assert self_consistent(votes[:drawn]) == self_consistent(votes)
