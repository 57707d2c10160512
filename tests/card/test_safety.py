"""What the card says of harm, of contamination and of energy follows the records, and says what nobody measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from medloom.card import write_card

from .conftest import step


def section(lineage: dict[str, Any], folder: Path, title: str) -> str:
    write_card(lineage, folder)
    return (folder / "README.md").read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def answers(confidence: float, accuracy: float) -> dict[str, Any]:
    return step("evaluate-finetuned-invented", {
        "n": 60, "accuracy": accuracy, "position_p": 0.004,
        "calibration": {"n": 60, "accuracy": accuracy, "confidence": confidence, "overconfidence": confidence - accuracy,
                        "ece": 0.2, "brier": 0.4},
        "contamination": {"clean": {"n": 50, "accuracy": 0.76}, "contaminated": {"n": 10, "accuracy": 0.9}, "untested": None}})


@pytest.mark.parametrize("confidence, verdict", [(0.95, "it is too sure of itself"), (0.6, "it is not too sure of itself on average")])
def test_confidence_is_held_against_what_is_right(lineage: dict[str, Any], tmp_path: Path, confidence: float, verdict: str) -> None:
    lineage["steps"].append(answers(confidence, 47 / 60))
    text = section(lineage, tmp_path, "Truthfulness, risk and bias")
    assert f"{100 * confidence:.1f} % on average, where 78.3 % of the answers are right: {verdict}." in text
    assert "| invented | 60 | 78.3 |" in text


def test_truthfulness_is_told_where_it_was_asked_and_missed_where_not(lineage: dict[str, Any], tmp_path: Path) -> None:
    assert "Truthfulness was not measured" in section(lineage, tmp_path / "without", "Truthfulness, risk and bias")
    lineage["recipe"]["evaluate"]["benchmarks"][0]["kind"] = "truthfulqa"
    lineage["steps"].append(answers(0.8, 47 / 60))
    text = section(lineage, tmp_path / "with", "Truthfulness, risk and bias")
    assert "misconceptions that finetuned answers rightly: 78.3[^" in text
    assert "not measured: no benchmark" not in text


def test_questions_that_were_read_are_told_apart(lineage: dict[str, Any], tmp_path: Path) -> None:
    lineage["steps"].append(answers(0.8, 47 / 60))
    text = section(lineage, tmp_path, "Contamination")
    assert "| finetuned | invented | 10 | 90.0 | 50 | 76.0 |" in text
    assert "The corpus was searched" in text


def test_an_unsearched_corpus_is_said_to_be_one(lineage: dict[str, Any], tmp_path: Path) -> None:
    next(each for each in lineage["steps"] if each["name"] == "corpus")["figures"].pop("benchmarks")
    assert "The corpus was not searched for the questions of the benchmarks." in section(lineage, tmp_path, "Contamination")


@pytest.mark.parametrize("measured, words", [
    (0, "an estimate: no meter could be read"), (1, "in part measured by the machine's counters, in part an estimate"),
    (99, "as the machine's counters measured it")])
def test_energy_says_whether_it_was_measured(lineage: dict[str, Any], tmp_path: Path, measured: int, words: str) -> None:
    for recorded in lineage["steps"][:measured]:
        recorded["energy"]["method"] = "RAPL counters of the processors"
    assert words in section(lineage, tmp_path, "Environmental impact")
