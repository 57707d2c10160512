"""Confidence from next-token log-probabilities, and what is said instead of an answer."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.serve.abstention import Decision, abstention, chances, decide

LABELS = ("A", "B", "C")


def logs(**shares: float) -> dict[str, float]:
    return {text: math.log(share) for text, share in shares.items()}


def test_the_tokens_of_a_label_are_summed() -> None:
    top = {" A": math.log(0.3), "A": math.log(0.1), "(A": math.log(0.05), "A.": math.log(0.05), " B)": math.log(0.2), "\nC": math.log(0.05),
           " a": math.log(0.2), " The": math.log(0.01)}
    assert chances(top, LABELS) == pytest.approx({"A": 0.5 / 0.75, "B": 0.2 / 0.75, "C": 0.05 / 0.75})


def test_words_count_in_any_case_and_whole() -> None:
    top = logs(yes=0.2, Yes=0.1, YES=0.1, No=0.2, None_=0.1, not_=0.1, maybe=0.2)
    assert chances({key.replace("_", ""): value for key, value in top.items()}, ("yes", "no")) == pytest.approx({"yes": 2 / 3, "no": 1 / 3})


def test_a_label_that_is_not_listed_is_given_the_most_it_can_have() -> None:
    assert chances(logs(A=0.5, x=0.3, y=0.1), LABELS) == pytest.approx({"A": 5 / 7, "B": 1 / 7, "C": 1 / 7})  # as much as the least listed
    assert chances(logs(A=0.9, x=0.09), ("A", "B")) == pytest.approx({"A": 90 / 91, "B": 1 / 91})  # as much as is left
    weak = chances(logs(the=0.9, a=0.05, A=0.001), LABELS)
    assert weak["A"] == pytest.approx(1 / 3)  # one label among rubbish is not a certain one


@pytest.mark.parametrize("top", [{}, {"x": -1.0}, {" A": -math.inf, "B": -math.inf}, {"A": math.nan}])
def test_where_nothing_is_known_all_are_alike(top: dict[str, float]) -> None:
    assert chances(top, LABELS) == pytest.approx(dict.fromkeys(LABELS, 1 / 3))


@given(st.dictionaries(
    st.text("AbB .(\n\u2581", max_size=3) | st.sampled_from([" A", "A", "B.", "(C)", "c"]),
    st.floats(max_value=0, min_value=-1e4)))
def test_probabilities_add_up(top: dict[str, float]) -> None:
    found = chances(top, LABELS)
    assert tuple(found) == LABELS and all(0 <= share <= 1 for share in found.values())
    assert math.fsum(found.values()) == pytest.approx(1)


def test_below_the_threshold_it_abstains_at_it_it_answers() -> None:
    shares = {"A": 0.25, "B": 0.5, "C": 0.25}
    assert decide(shares, 0.5).figures() == {"options": ["A", "B", "C"], "answer": "B", "confidence": 0.5, "threshold": 0.5,
                                             "abstained": False}
    assert decide(shares, 0.500001).abstained
    assert decide({"yes": 0.4, "no": 0.4, "maybe": 0.2}, 0).answer == "yes"


@pytest.mark.parametrize(("share", "threshold"), [(0.41, 0.62), (0.999999, 1.000001), (0.6199, 0.62), (0.619999, 0.62)])
def test_what_is_said_names_two_numbers_that_differ(share: float, threshold: float) -> None:
    said = abstention(Decision(("A", "B"), "A", share, threshold, True))
    confidence, limit = (float(number) for number in re.findall(r"\d\.\d+", said))
    assert confidence < limit
    assert confidence == pytest.approx(share, abs=0.005) and limit == pytest.approx(threshold, abs=0.005)
    assert "abstains" in said and "qualified person" in said
