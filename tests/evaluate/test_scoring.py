"""Scores and comparisons from answers, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medloom.evaluate import adjust, compare, score
from medloom.evaluate.scoring import Outcome, choose, compare_outcomes, score_outcomes
from medloom.ledger import Refusal


def outcomes(right: list[bool], options: int = 4) -> list[Outcome]:
    return [Outcome(str(number), number % options, number % options if fine else (number + 1) % options, options)
            for number, fine in enumerate(right)]


def test_of_equal_options_the_first_is_taken() -> None:
    assert choose([-2.0, -1.0, -1.0]) == (1, True)
    assert choose([-1.0, -2.0, -2.0]) == (0, False)


def test_a_score_by_hand() -> None:
    given = [*outcomes([True] * 6 + [False] * 2), Outcome("x", 0, None, 5), Outcome("y", 0, 0, 2, tie=True)]
    measured = score_outcomes(given)
    assert (measured.n, measured.correct, measured.unparsed, measured.ties) == (10, 7, 1, 1)
    assert measured.chance == pytest.approx((8 / 4 + 1 / 5 + 1 / 2) / 10)
    assert measured.majority == 0.4  # option 0: twice of eight, and x, and y


@pytest.mark.parametrize(("share", "says"), [(0.9, "above chance and above"), (0.27, "at chance"), (0.05, "below chance")])
def test_words_follow_the_interval(share: float, says: str) -> None:
    assert says in score_outcomes(outcomes([number < 200 * share for number in range(200)])).verdict


def test_always_yes_is_above_chance_but_not_above_the_majority() -> None:
    always = [Outcome(str(number), 0 if number < 276 else 1 if number < 445 else 2, 0, 3) for number in range(500)]
    measured = score_outcomes(always)  # PubMedQA's 55.2 %
    assert measured.accuracy == measured.majority == pytest.approx(0.552)
    assert "not shown to be above always giving the majority answer" in measured.verdict


def test_a_comparison_pairs_by_id_whatever_the_order() -> None:
    base = outcomes([True] * 30 + [False] * 70)
    ours = outcomes([True] * 25 + [False] * 5 + [True] * 20 + [False] * 50)
    found = compare_outcomes(ours[::-1], base, model="new", base_name="old")
    assert (found.gained, found.lost, found.n) == (20, 5, 100)
    assert found.difference == pytest.approx(0.15) and found.low < 0.15 < found.high and found.low > 0
    assert found.p_value == pytest.approx(2 * (1 + 25 + 300 + 2300 + 12650 + 53130) / 2**25)  # 5 or fewer of 25, both sides
    assert found.verdict == "better" and compare_outcomes(base, ours).verdict == "worse"
    assert found.figures()["base_accuracy"] == pytest.approx(0.30)


def test_of_many_comparisons_a_lucky_one_is_not_called_better() -> None:
    lucky = compare_outcomes(outcomes([True] * 8 + [False] * 32), outcomes([False] * 8 + [True] + [False] * 31))
    assert lucky.p_value == pytest.approx(20 / 512) and lucky.verdict == "better"
    same = compare_outcomes(outcomes([True] * 40), outcomes([True] * 40))
    adjusted = adjust([lucky, same, same])
    assert adjusted[0].holm_p == pytest.approx(60 / 512) and adjusted[0].verdict == "not shown to differ"


def write(path: Path, *lines: dict[str, object]) -> Path:
    usual = {"gold": 0, "choice": 0, "options": 2, "logprobs": [-1, -2], "tie": False}
    path.write_text("".join(json.dumps({**usual, **line}) + "\n" for line in lines))
    return path


def test_what_does_not_pair_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.jsonl", {"id": "a"}, {"id": "b"})
    with pytest.raises(Refusal, match="1 questions are in one only, such as b"):
        compare(one, write(tmp_path / "two.jsonl", {"id": "a"}))
    with pytest.raises(Refusal, match="different answers to b"):
        compare(one, write(tmp_path / "three.jsonl", {"id": "a"}, {"id": "b", "gold": 1}))
    with pytest.raises(Refusal, match="line 2: answers the question a a second time"):
        score(write(tmp_path / "four.jsonl", {"id": "a"}, {"id": "a"}))
    with pytest.raises(Refusal, match="no such file"):
        score(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(Refusal, match="no answers"):
        score(tmp_path / "empty.jsonl")
