"""From a benchmark's file and a model's probabilities to a calibration, its table and its picture."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from medloom.calibrating import Asked, Questions, ask_all, calibration, caution, draw_calibration, read_questions
from medloom.ledger import Refusal, Silent


def exam(path: Path, count: int = 60) -> Path:
    """Questions in MedQA's form, B always right; one whose last option runs over two lines."""
    rows = [{"id": f"q{number}", "question": f"Which is it in case {number}?", "options": {"A": "red", "B": "blue", "C": "green"},
             "answer_idx": "B"} for number in range(count)]
    rows.append({"id": "torn", "question": "Which?", "options": {"A": "red", "B": "blue\nwhich runs on"}, "answer_idx": "B"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Model:
    """Right as often as it says: the probability of B is drawn for each question, and B is taken where it is the largest."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def chances(self, text: str, labels: Sequence[str]) -> Mapping[str, float] | None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if "case 7?" in text:
            return None
        share = random.Random(text).uniform(0, 1)
        return {label: share if label == "B" else (1 - share) / (len(labels) - 1) for label in labels}


def asked(questions: Questions, model: Model, at_once: int = 1) -> Asked:
    return asyncio.run(ask_all(questions, model.chances, Silent(), at_once))


def test_questions_are_put_as_a_chat_puts_them(tmp_path: Path) -> None:
    questions = read_questions(exam(tmp_path / "exam.jsonl"), "medqa")
    assert len(questions.asked) == 60 and questions.left_out == 1
    first = questions.asked[0]
    assert first.text == "Which is it in case 0?\n\nOptions:\nA. red\nB. blue\nC. green"
    assert first.labels == ("A", "B", "C") and {question.right for question in questions.asked} == {"B"}


def test_questions_without_options_say_what_to_answer(shared: Path) -> None:
    questions = read_questions(shared / "benchmarks" / "pubmedqa", "pubmedqa")
    assert len(questions.asked) == 500 and questions.left_out == 0
    assert all(question.text.startswith("Answer yes, no or maybe.\n\n") for question in questions.asked)
    rights = [question.right for question in questions.asked]
    assert [rights.count(label) for label in ("yes", "no", "maybe")] == [276, 169, 55]  # the published test set's


def test_what_a_calibration_tells_is_so(tmp_path: Path) -> None:
    questions, model = read_questions(exam(tmp_path / "exam.jsonl"), "medqa"), Model()
    told = asked(questions, model, at_once=4)
    assert model.most == 4
    found = calibration(told, questions, 0.1, model="m", sha256="ab", template="plain")
    pairs = list(zip(told.confidences, told.right, strict=True))
    assert len(pairs) == found.questions == 59 and found.left_out == 2  # the torn one, and the one that did not fit the model
    above = [right for confidence, right in pairs if confidence >= found.threshold]
    assert found.answered == len(above) / 59 and found.wrong == above.count(False) / 59
    assert found.accuracy == pytest.approx(sum(above) / len(above))
    assert (above.count(False) + 1) / 60 <= 0.1
    assert found.threshold > max(confidence for confidence, right in pairs if not right and confidence < found.threshold)
    assert found.forms == {"A B C": 59}
    assert asked(questions, Model(), at_once=1) == told


def test_a_model_whose_confidence_says_nothing_is_told_so(tmp_path: Path) -> None:
    assert caution(asked(read_questions(exam(tmp_path / "exam.jsonl"), "medqa"), Model())) is None
    forms = ("A B C",) * 60
    blind = Asked(tuple(0.3 + number % 7 / 10 for number in range(60)), tuple(number % 2 == 0 for number in range(60)), forms)
    wrong_way = Asked((0.9,) * 30 + (0.5,) * 30, (False,) * 30 + (True,) * 30, forms)
    always_wrong, always_right = (Asked(blind.confidences, (right,) * 60, forms) for right in (False, True))
    assert all("not shown" in str(caution(each)) for each in (blind, wrong_way, always_wrong))
    assert caution(always_right) is None


def test_the_picture_is_the_same_for_the_same_answers(tmp_path: Path) -> None:
    questions = read_questions(exam(tmp_path / "exam.jsonl"), "medqa")
    told = asked(questions, Model())
    found = calibration(told, questions, 0.1, model="m", sha256="ab", template="plain")
    for name in ("one.svg", "two.svg"):
        draw_calibration(found, told, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    words = " ".join("".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "risk, 10.0 %" in words and "59 questions" in words and f"threshold {found.threshold:.3f}" in words


def test_files_that_give_nothing_to_calibrate_on(tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_text(json.dumps({"question": "Which?", "options": {"A": "x", "B": "y\nz"}, "answer_idx": "A"}) + "\n")
    with pytest.raises(Refusal, match="no question with listed options"):
        read_questions(path, "medqa")
    with pytest.raises(Refusal, match="take medqa"):
        read_questions(path, "exam")
    with pytest.raises(Refusal, match="no such file"):
        read_questions(tmp_path / "none.jsonl", "medqa")
