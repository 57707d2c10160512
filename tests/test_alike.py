"""When two runs' figures count as identical, equivalent or different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medloom.alike import Answers, Figure, Tolerance, hold_answers, hold_figures, worst


def answers(path: Path, choices: list[int], first: int = 0) -> Path:
    """Questions with four options, the first of which is right."""
    path.write_text("".join(json.dumps({"id": f"q{first + number}", "gold": 0, "choice": choice, "options": 4, "tie": False}) + "\n"
                            for number, choice in enumerate(choices)))
    return path


def held(tmp_path: Path, then: list[int], now: list[int], accuracy: float = 0.01) -> Answers:
    return hold_answers(answers(tmp_path / "then", then), answers(tmp_path / "now", now), "mine", "exam", Tolerance(accuracy=accuracy))


def test_the_same_answers_are_identical_however_few(tmp_path: Path) -> None:
    found = held(tmp_path, [0, 1, 2], [0, 1, 2])
    assert (found.verdict, found.difference, found.why) == ("identical", 0, "every answer is the same")


def test_equivalence_is_shown_and_not_assumed(tmp_path: Path) -> None:
    """One answer of 12 in another direction proves nothing; 4 of 2,000 do, and a loss of 5 points is one at any size."""
    few = held(tmp_path, [0] * 6 + [1] * 6, [0] * 6 + [1] * 5 + [0])
    assert few.verdict == "different" and "too few questions" in few.why and few.low is not None and few.low < -0.01
    many = held(tmp_path, [0] * 1000 + [1] * 1000, [1, 1] + [0] * 998 + [0, 0] + [1] * 998)
    assert many.verdict == "equivalent" and many.why == "4 of 2000 answers changed"
    assert many.low is not None and many.high is not None and -0.01 <= many.low < 0 < many.high <= 0.01
    assert held(tmp_path, [0] * 1000 + [1] * 1000, [1, 1] + [0] * 998 + [0, 0] + [1] * 998, accuracy=0.001).verdict == "different"
    worse = held(tmp_path, [0] * 1000 + [1] * 1000, [1] * 100 + [0] * 900 + [1] * 1000)
    assert worse.verdict == "different" and "by more than the tolerance" in worse.why and worse.difference == pytest.approx(-0.05)


def test_a_wrong_answer_for_another_is_a_change_and_no_difference(tmp_path: Path) -> None:
    found = held(tmp_path, [1] * 1000, [2] * 5 + [1] * 995)
    assert (found.verdict, found.difference) == ("equivalent", 0)


def test_other_questions_are_different(tmp_path: Path) -> None:
    found = hold_answers(answers(tmp_path / "then", [0, 1]), answers(tmp_path / "now", [0, 1], first=1), "mine", "exam", Tolerance())
    assert found.verdict == "different" and "questions are in one only" in found.why


def figures(then: dict[str, Any], now: dict[str, Any], *behind: Answers) -> dict[str, Figure]:
    return {figure.name: figure for figure in hold_figures("step", then, now, behind, Tolerance())}


def test_numbers_words_and_what_is_not_compared() -> None:
    then = {"loss": 2.0, "kl": 3e-9, "steps": 100, "verdict": "better", "reason": "by 1.25 of 3,000", "smallest": None, "ok": True,
            "training_seconds": 5.0, "memory_gb": 1.0,
            "rows": [{"tokens_per_second": 9.0, "n": 3}], "sha256": "ab", "threads": 1, "device": "cpu"}
    now = {"loss": 2.01, "kl": 8e-9, "steps": 150, "verdict": "worse", "reason": "by 1.5 of 3,001", "smallest": 0, "ok": 1,
           "training_seconds": 6.0, "memory_gb": 2.0,
           "rows": [{"tokens_per_second": 8.0, "n": 3}], "sha256": "cd", "threads": 2, "device": "cuda", "more": 1}
    assert {name: figure.verdict for name, figure in figures(then, now).items()} == {
        "step:loss": "equivalent", "step:kl": "equivalent", "step:steps": "different", "step:verdict": "different",
        "step:reason": "equivalent", "step:smallest": "different", "step:ok": "different", "step:rows/0/n": "identical",
        "step:more": "different"}


def test_what_follows_from_answers_is_judged_by_their_test() -> None:
    def about(model: str, verdict: Any) -> Answers:
        return Answers(model, "exam", 9, 0.5, 0.5, 0.0, -0.1, 0.1, verdict, "")

    row = {"model": "mine", "base": "base", "benchmark": "exam", "p_value": 0.9, "verdict": "not shown to differ"}
    other = {**row, "model": "yours"}
    found = figures({"rows": [row, other]}, {"rows": [{**row, "p_value": 0.1}, {**other, "p_value": 0.1}]},
                    about("mine", "equivalent"), about("yours", "different"), about("base", "identical"))
    assert found["step:rows/0/p_value"].verdict == "equivalent" and found["step:rows/1/p_value"].verdict == "different"
    turned = figures({"rows": [row]}, {"rows": [{**row, "verdict": "worse"}]}, about("mine", "equivalent"))
    assert turned["step:rows/0/verdict"].verdict == "different", "a conclusion that turns is never equivalent"


def test_the_worst_of_verdicts() -> None:
    assert worst([]) == "identical" and worst(["equivalent", "identical"]) == "equivalent"
    assert worst(["equivalent", "different", "identical"]) == "different"
