"""The threshold of conformal risk control: its arithmetic, its promise, and the file it is kept in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloom.ledger import Refusal
from medloom.serve.abstention import Calibration, decide, read_calibration, threshold_for
from medloom.serve.abstention.calibration import questions_needed

KEPT = Calibration(model="demo", sha256="ab" * 32, template="plain", risk=0.1, threshold=0.62, questions=200, answered=0.6, accuracy=0.85,
                   wrong=0.09, forms={"A B C D": 200}, left_out=3, questions_sha256="cd" * 32, date="2026-11-28", medloom="0.1.0")


@pytest.mark.parametrize(("confidences", "right", "risk", "threshold"), [
    # Nine questions, risk 0.1: (0 + 1) / 10 holds, (1 + 1) / 10 does not, so that no wrong answer may be given.
    ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [1, 1, 0, 1, 1, 1, 1, 1, 1], 0.1, 0.700001),
    # Nineteen: one wrong answer, (1 + 1) / 20, may be given; the second is at 0.5.
    ([0.9] * 15 + [0.7, 0.5, 0.3, 0.1], [1] * 15 + [0, 0, 0, 1], 0.1, 0.500001),
    ([0.9] * 17 + [0.5, 0.5], [1] * 17 + [0, 0], 0.1, 0.500001),  # of two as confident neither, for one alone cannot be left out
    ([0.9] * 18 + [0.5], [1] * 18 + [0], 0.1, 0.0),
    ([0.4] * 9, [1] * 9, 0.1, 0.0),
    ([1.0] * 9, [1] * 8 + [0], 0.1, 1.000001),  # wrong and certain: nothing is answered
    ([0.9, 0.4, 0.6], [1, 0, 0], 0.75, 0.0),  # (2 + 1) / 4
])
def test_the_smallest_threshold_by_hand(confidences: list[float], right: list[int], risk: float, threshold: float) -> None:
    assert threshold_for(confidences, [bool(each) for each in right], risk) == threshold


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=9, max_size=60), st.sampled_from([0.1, 0.2, 0.35, 0.5]))
def test_it_keeps_the_bound_and_the_step_below_does_not(drawn: list[tuple[int, bool]], risk: float) -> None:
    confidences, right = [step / 20 for step, _ in drawn], [is_right for _, is_right in drawn]

    def bound(threshold: float) -> float:
        losses = sum(decide({"A": c}, threshold).abstained is False and not r for c, r in zip(confidences, right, strict=True))
        return (losses + 1) / (len(drawn) + 1)

    threshold = threshold_for(confidences, right, risk)
    assert bound(threshold) <= risk
    assert threshold == 0 or bound(round(threshold - 1e-6, 6)) > risk


@pytest.mark.parametrize("steps", [None, 50, 4], ids=["all differ", "ties", "hardly any differ"])
@pytest.mark.parametrize(("questions", "risk"), [(9, 0.1), (40, 0.1), (40, 0.25), (300, 0.05)])
def test_new_questions_are_answered_wrongly_no_more_often_than_promised(steps: int | None, questions: int, risk: float) -> None:
    """4000 calibrations, each tried on 50 new questions: the mean loss is at most the risk, and where nothing ties not needlessly less.

    By the theorem it is at least risk - 2 / (n + 1) where confidences differ and the risk can be reached at all.
    """
    generator = np.random.default_rng(questions)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        confidence = generator.uniform(0.25, 1, count) if steps is None else np.ceil(generator.uniform(0.25, 1, count) * steps) / steps
        return confidence.round(6), generator.uniform(size=count) < confidence**1.5  # overconfident, as models are

    losses = []
    for _ in range(4000):
        threshold = threshold_for(*(values.tolist() for values in draw(questions)), risk)
        confidence, right = draw(50)
        losses.append(((confidence >= threshold) & ~right).mean())
    error = np.std(losses) / len(losses) ** 0.5
    assert np.mean(losses) <= risk + 3 * error
    if steps is None:
        assert np.mean(losses) >= risk - 2 / (questions + 1) - 3 * error


@pytest.mark.parametrize(("risk", "needed"), [(0.5, 1), (0.1, 9), (0.05, 19), (0.3, 3), (0.01, 99), (1 / 3, 2), (0.001, 999), (0.07, 14)])
def test_too_few_questions_are_refused_with_the_number_it_takes(risk: float, needed: int) -> None:
    assert questions_needed(risk) == needed
    threshold_for([0.5] * needed, [True] * needed, risk)
    with pytest.raises(Refusal, match=rf"{needed - 1} questions .* it takes {needed} "):
        threshold_for([0.5] * (needed - 1), [True] * (needed - 1), risk)


@pytest.mark.parametrize("risk", [0.0, 1.0, -0.1, float("nan")])
def test_a_risk_that_is_none_is_refused(risk: float) -> None:
    with pytest.raises(Refusal, match="between 0 and 1"):
        threshold_for([0.5] * 20, [True] * 20, risk)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    KEPT.write(tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json") == KEPT
    assert KEPT.facts() == {"risk": 0.1, "threshold": 0.62, "questions": 200, "sha256": "cd" * 32}


def test_it_holds_for_its_model_and_template_only() -> None:
    KEPT.check("ab" * 32, "plain")
    with pytest.raises(Refusal, match="another file"):
        KEPT.check("ef" * 32, "plain")
    with pytest.raises(Refusal, match="another file"):
        KEPT.check(None, "plain")
    with pytest.raises(Refusal, match="served in chatml"):
        KEPT.check("ab" * 32, "chatml")


@pytest.mark.parametrize(("change", "said"), [
    ({"threshold": 7}, "threshold"), ({"risk": 0}, "risk"), ({"more": 1}, "more"), ({"sha256": 3}, "sha256"),
    ({"questions": "many"}, "questions")])
def test_a_damaged_file_is_refused_by_the_field(tmp_path: Path, change: dict[str, object], said: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({**KEPT.model_dump(), **change}))
    with pytest.raises(Refusal, match=f"not a calibration .{said}"):
        read_calibration(path)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", "\x00"])
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(Refusal, match="no such file"):
        read_calibration(path)
    path.write_text(content)
    with pytest.raises(Refusal, match="not a calibration"):
        read_calibration(path)
