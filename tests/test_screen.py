"""The terminal says in words what a table would let a hopeful reader overlook."""

from __future__ import annotations

import pytest

from medloom.numbers import probability
from medloom.screen import cautions


@pytest.mark.parametrize(("low", "high", "says"), [
    (0.19, 0.29, ["  tiny on medqa: at chance, no knowledge is shown"]),
    (0.06, 0.13, ["  tiny on medqa: below chance, which is a matter of how it answers and not of what it knows"]),
    (0.26, 0.40, ["  tiny on medqa: above chance, not shown to be above always giving the commonest answer"]),
    (0.29, 0.40, []),
])
def test_scores_that_show_no_knowledge_are_named(low: float, high: float, says: list[str]) -> None:
    row = {"model": "tiny", "benchmark": "medqa", "chance": 0.25, "majority": 0.28, "accuracy_low": low, "accuracy_high": high}
    assert cautions({"comparisons": [row]}) == says


@pytest.mark.parametrize(("p", "written"), [(None, ""), (0.04321, "0.0432"), (1.0, "1.0000"), (3e-9, "< 0.0001")])
def test_probabilities_are_never_written_as_nought(p: float | None, written: str) -> None:
    assert probability(p) == written
