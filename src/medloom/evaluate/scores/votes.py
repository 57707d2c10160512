"""Self-consistency: which answer several branches agree on, and when no further branch can change it.

Wang et al. 2023, arXiv 2203.11171. A branch in which no answer could be read does not vote. Of answers with equally many votes the one
that was voted for first wins; branches are counted in the order of their numbers, so that this does not depend on how they were computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def self_consistent(votes: Sequence[int | None]) -> tuple[int | None, bool]:
    """The choice with most votes and whether another has as many; (None, False) where nobody voted."""
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return None, False
    (choice, most), *others = counts.most_common()  # of equals the one met first stands first
    return choice, any(count == most for _, count in others)


def settled(counts: Counter[int], left: int) -> bool:
    """Whether `left` further votes can no longer change the winner; `counts` in the order in which choices were first voted for."""
    if left == 0:
        return True
    return bool(counts) and _lead(counts) > left


def least_more(counts: Counter[int], left: int) -> int:
    """The fewest further votes, of `left`, after which it may be settled: had all of them gone to the leader."""
    lead = _lead(counts) if counts else 0
    more = next(more for more in range(1, left + 1) if lead + more > left - more or more == left)
    return more


def _lead(counts: Counter[int]) -> int:
    """Votes of the leader over the next one. One more than that would be needed to change the winner's and the tie's account alike."""
    first, *others = (count for _, count in counts.most_common(2))
    return first - (others[0] if others else 0)
