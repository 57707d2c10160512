"""The threshold below which a model abstains, and the file that it is kept in.

Conformal risk control (Angelopoulos et al. 2022, arXiv 2208.02814), for abstention as in Yadkori et al. 2024, arXiv 2405.01563. The loss
of a threshold on a question is 1 where the question is answered, confidence at or above the threshold, and the answer is wrong; else
0. It never grows with the threshold. Of n questions the smallest threshold is taken with

    (losses + 1) / (n + 1) <= risk,

and of questions that are exchangeable with these, a share of at most `risk` is then answered wrongly, in expectation over
both. The share is of all questions asked, those abstained from among them, not of those answered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medloom.ledger import Refusal
from medloom.ledger.files import write_json

from .confidence import GRID, PLACES


def threshold_for(confidences: Sequence[float], right: Sequence[bool], risk: float) -> float:
    """The smallest threshold that keeps the risk, on the grid of 1e-6 that confidences lie on; 1 + 1e-6 answers nothing.

    The grid is finite and there before the questions, so that a smallest threshold exists and the theorem holds for it, whatever the ties.
    Raises Refusal where the questions are too few for the risk: then not even answering none of them would show it.
    """
    questions = len(confidences)
    refuse_too_few(questions, risk)
    wrong = sorted((round(one, PLACES) for one, is_right in zip(confidences, right, strict=True) if not is_right), reverse=True)
    allowed = next((losses for losses in range(len(wrong), 0, -1) if _keeps(losses, questions, risk)), 0)
    return 0.0 if allowed == len(wrong) else round(wrong[allowed] + GRID, PLACES)


def refuse_too_few(questions: int, risk: float) -> None:
    """Raise Refusal where so many questions cannot show the risk, or it is none."""
    if not 0 < risk < 1:
        raise Refusal(f"risk = {risk}: it must lie between 0 and 1, such as 0.1 for one question in ten answered wrongly")
    needed = questions_needed(risk)
    if questions < needed:
        raise Refusal(f"{questions} questions cannot show a risk of {risk:g}; it takes {needed} at least, and several times as many for a "
                      "threshold that answers much: name more questions or raise --risk")


def questions_needed(risk: float) -> int:
    """The smallest n with 1 / (n + 1) <= risk."""
    least = max(0, math.floor(1 / risk) - 2)  # rounding cannot be off by more
    while not _keeps(0, least, risk):
        least += 1
    return least


def _keeps(losses: int, questions: int, risk: float) -> bool:
    return (losses + 1) / (questions + 1) <= risk


class Calibration(BaseModel):
    """What a calibration found, and of what: it holds for that model under that template only.

    `answered` and `wrong` are shares of all calibration questions, `accuracy` is of the answered ones, None where none is. `forms` counts
    the questions by their options ("A B C D", "yes no maybe"); `left_out` counts those of the file that had no such form. `sha256` is
    the model file's, None behind another server; `questions_sha256` that of the questions' file. `date` is in UTC.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    model: str
    sha256: str | None
    template: str
    risk: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1 + GRID)
    questions: int = Field(ge=1)
    answered: float = Field(ge=0, le=1)
    accuracy: float | None = Field(default=None, ge=0, le=1)
    wrong: float = Field(ge=0, le=1)
    forms: dict[str, int]
    left_out: int = Field(ge=0)
    questions_sha256: str
    date: str
    medloom: str

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_json(path, self.model_dump())

    def check(self, sha256: str | None, template: str) -> None:
        """Raise Refusal unless it was made of the model file with this SHA-256, asked in this template."""
        cure = f"calibrate it as it is served: medloom calibrate MODEL QUESTIONS --template {template} --out FILE"
        if self.sha256 != sha256:
            own, served = ((digest or "unknown")[:12] for digest in (self.sha256, sha256))
            raise Refusal(f"the calibration is of another file ({self.model}, sha256 {own}) than the served one ({served}); {cure}")
        if self.template != template:
            raise Refusal(f"the calibration of {self.model} asked in the form {self.template}, and it is served in {template}; {cure}")

    def facts(self) -> dict[str, Any]:
        """What /v1/models tells of it."""
        return {"risk": self.risk, "threshold": self.threshold, "questions": self.questions, "sha256": self.questions_sha256}


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file. Raises Refusal where there is none or it is damaged."""
    if not path.is_file():
        raise Refusal(f"{path}: no such file; make one with: medloom calibrate MODEL QUESTIONS --out {path}")
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))
        raise Refusal(f"{path}: not a calibration ({f'{place}: ' if place else ''}{fault['msg']}); "
                      f"make it again with: medloom calibrate MODEL QUESTIONS --out {path}") from None
