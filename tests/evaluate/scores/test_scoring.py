"""Scores and comparisons from answers, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medloom.evaluate import adjust, compare, score
from medloom.evaluate.scores.contaminated import split_by_contamination
from medloom.evaluate.scores.scoring import Outcome, choose, compare_outcomes, score_outcomes
from medloom.evaluate.statistics import bootstrap, gather, mcnemar
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


def askings(right: list[list[bool]]) -> list[Outcome]:
    """For each asking and question whether it was answered rightly."""
    return [replace(outcome, asked=f"seed {seed}") for seed, asked in enumerate(right) for outcome in outcomes(asked)]


def test_lone_questions_keep_wilsons_interval() -> None:
    measured = score_outcomes(outcomes([True] * 6 + [False] * 14))
    assert (measured.low, measured.high) == (measured.wilson_low, measured.wilson_high)
    assert (measured.askings, measured.clusters, measured.spread, measured.by_asking) == (1, 20, None, {})


def test_the_spread_over_askings_stands_apart_from_the_error_of_the_questions() -> None:
    first, second, third = [True] * 12 + [False] * 8, [True] * 10 + [False] * 10, [True] * 8 + [False] * 12
    measured = score_outcomes(askings([first, second, third]))
    assert (measured.n, measured.askings, measured.clusters, measured.correct) == (20, 3, 20, 30)
    assert measured.accuracy == pytest.approx(0.5) and measured.by_asking == {"seed 0": 0.6, "seed 1": 0.5, "seed 2": 0.4}
    assert measured.spread == pytest.approx(0.1)
    assert measured.agreement == pytest.approx(16 / 20)
    assert measured.unparsed_rate == 0


def test_asking_the_same_again_makes_nobody_surer() -> None:
    right = [number % 5 < 3 for number in range(100)]
    once, thrice = score_outcomes(outcomes(right)), score_outcomes(askings([right] * 3))
    assert (thrice.accuracy, thrice.wilson_low, thrice.wilson_high, thrice.standard_error) == pytest.approx(
        (once.accuracy, once.wilson_low, once.wilson_high, once.standard_error))
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)
    assert thrice.agreement == 1 and thrice.spread == 0


def test_questions_on_one_passage_are_not_independent() -> None:
    together = [replace(outcome, cluster=f"passage {number // 10}") for number, outcome in enumerate(outcomes([True] * 70 + [False] * 130))]
    measured = score_outcomes(together)
    assert measured.clusters == 20 and measured.high - measured.low > 2.5 * (measured.wilson_high - measured.wilson_low)
    assert (measured.low, measured.high) == bootstrap(gather([1.0] * 7 + [0.0] * 13, range(20)))
    perfect = score_outcomes([replace(outcome, cluster=str(number // 2)) for number, outcome in enumerate(outcomes([True] * 20))])
    assert perfect.low == pytest.approx(score_outcomes(outcomes([True] * 10)).wilson_low)


def test_groups_have_intervals_of_their_own() -> None:
    given = [replace(outcome, group="step1" if int(outcome.id) < 10 else "step2") for outcome in outcomes([True] * 8 + [False] * 12)]
    groups = score_outcomes(given).groups
    assert (groups["step1"]["n"], groups["step1"]["accuracy"], groups["step2"]["accuracy"]) == (10, 0.8, 0.0)
    assert (groups["step1"]["low"], groups["step1"]["high"]) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Wilson, 8 of 10


def test_a_liking_for_the_first_option_shows() -> None:
    always = score_outcomes([Outcome(str(number), number % 4, 0, 4) for number in range(80)])
    assert always.chosen == {"0": 80} and always.golds == {"0": 20, "1": 20, "2": 20, "3": 20}
    assert always.position_p is not None and always.position_p < 1e-9
    fair = score_outcomes([Outcome(str(number), number % 4, (number // 4) % 4, 4) for number in range(80)])
    assert fair.position_p is not None and fair.position_p > 0.9


def test_several_askings_are_compared_by_flipping_whole_questions() -> None:
    random = np.random.default_rng(4)
    base = random.random((3, 60)) < 0.4
    better = base | (random.random((3, 60)) < 0.4)
    found = compare_outcomes(askings(better.tolist()), askings(base.tolist()))
    assert (found.test, found.n, found.askings, found.lost) == ("sign-flip", 60, 3, 0)
    assert found.difference == pytest.approx(better.mean() - base.mean())
    assert 0 < found.low <= found.bootstrap_low and found.high >= found.bootstrap_high and found.verdict == "better"
    own = score_outcomes(askings(better.tolist()))
    assert (found.accuracy_low, found.accuracy_high) == (own.low, own.high) != (own.wilson_low, own.wilson_high)
    assert 2 ** -60 < found.p_value <= 2.0 ** (1 - np.sum((better != base).any(axis=0)))


def test_an_interval_over_clusters_knows_that_a_loss_may_have_been_missed() -> None:
    """One answer of 40 changed, for the better: no bootstrap of it ever loses, and 40 questions rule out a loss of 9 points at best."""
    base = [Outcome(str(number), 0, 1, 4, cluster=str(number // 2)) for number in range(40)]
    better = [replace(base[0], choice=0), *base[1:]]
    found = compare_outcomes(better, base)
    assert found.bootstrap_low == 0 and found.low < -0.05


def test_copies_of_an_asking_do_not_sharpen_a_comparison() -> None:
    ours, base = [True] * 9 + [False] * 31, [False] * 9 + [True] * 3 + [False] * 28
    once, thrice = compare_outcomes(outcomes(ours), outcomes(base)), compare_outcomes(askings([ours] * 3), askings([base] * 3))
    assert once.test == "McNemar" and once.p_value == mcnemar(9, 3)
    assert thrice.p_value == pytest.approx(once.p_value) and thrice.difference == once.difference
    assert thrice.detectable == pytest.approx(once.detectable)
    assert (thrice.bootstrap_low, thrice.bootstrap_high) == (once.bootstrap_low, once.bootstrap_high)
    assert once.bootstrap_low == pytest.approx(once.low, abs=0.03) and once.bootstrap_high == pytest.approx(once.high, abs=0.03)


def test_models_that_never_differ_could_still_differ() -> None:
    right = [True, False] * 20
    same = compare_outcomes(askings([right] * 2), askings([right] * 2))
    once = compare_outcomes(outcomes(right), outcomes(right))
    assert (same.low, same.high) == (once.low, once.high) and same.low < 0 < same.high
    assert same.detectable is None and same.verdict == "not shown to differ"


def test_askings_must_be_the_same_on_both_sides() -> None:
    with pytest.raises(Refusal, match="4 questions are in one only, such as 0 seed 1"):
        compare_outcomes(askings([[True, True], [True, False]]), [replace(outcome, asked="seed 0") for outcome in outcomes([True] * 4)])


def test_contaminated_questions_are_scored_apart() -> None:
    given = outcomes([True] * 15 + [False] * 25)
    rows = [{"id": str(number), "share": 0.8 if number < 10 else 0.79} for number in range(30)]
    found = split_by_contamination(given, rows)
    assert [found[part]["n"] for part in ("contaminated", "clean", "untested")] == [10, 20, 10]
    assert found["contaminated"]["accuracy"] == 1.0 and found["clean"]["accuracy"] == 0.25 and found["untested"]["correct"] == 0
    assert found["clean"]["low"] < 0.25 < found["clean"]["high"]
    assert found["gain"] == pytest.approx(15 / 40 - 0.25)
    assert split_by_contamination(given, [])["clean"] is None


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
