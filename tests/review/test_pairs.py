"""The balance that a blind comparison rests on, for every size of study."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from medloom.review.pairs import assign

SIZES = st.tuples(st.integers(1, 12), st.integers(2, 4), st.integers(1, 6)).flatmap(
    lambda sizes: st.tuples(*map(st.just, sizes), st.integers(1, sizes[2]), st.integers(0, 2**32)))


def close(counts: Counter[object], keys: object) -> bool:
    values = [counts[key] for key in keys]  # type: ignore[attr-defined]
    return max(values) - min(values) <= 1


@settings(max_examples=150, deadline=None)
@given(SIZES)
def test_loads_and_sides_are_balanced_to_one(sizes: tuple[int, int, int, int, int]) -> None:
    questions, models, raters, per_pair, seed = sizes
    contests = list(combinations([f"m{number}" for number in range(models)], 2))
    shown = assign(questions, contests, raters, per_pair, seed)
    everything = [one for own in shown for one in own]
    pairs = Counter((one.question, one.first, one.second) for one in everything)
    assert len(pairs) == questions * len(contests) and set(pairs.values()) == {per_pair}
    assert all(len({(one.question, one.first, one.second) for one in own}) == len(own) for own in shown), "no rater sees a pair twice"
    assert close(Counter({rater: len(own) for rater, own in enumerate(shown)}), range(raters))
    for contest in contests:
        mine = [one for one in everything if (one.first, one.second) == contest]
        assert close(Counter(one.rater for one in mine), range(raters))
        for of in ("rater", "question"):
            swapped, straight = (Counter(getattr(one, of) for one in mine if one.swapped is side) for side in (True, False))
            assert all(abs(swapped[key] - straight[key]) <= 1 for key in {**swapped, **straight}), of


def test_the_seed_decides_and_two_raters_differ() -> None:
    contests = [("heron", "otter")]
    first, again, other = (assign(40, contests, 2, 2, seed) for seed in (7, 7, 8))
    assert first == again != other
    orders = [[one.question for one in own] for own in first]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == list(range(40))
    sides = [{one.question: one.swapped for one in own} for own in first]
    assert sides[0] != sides[1]
