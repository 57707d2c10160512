"""What a run's folder tells of its evaluation, read from its files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ..scores import Calibration, Outcome, Score, calibrate, in_words, read_answers, score_outcomes, whose

ROAD = ("base", "pretrained", "finetuned")  # the order of a model's life; others follow
BEFORE = "base"
MEANT = 1e-9  # by how much a share may differ from the record's and still be the same

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """A benchmark as the recipe has it asked."""

    name: str
    kind: str
    mode: str
    shots: int
    seeds: tuple[int, ...]
    general: bool


@dataclass(frozen=True)
class Result:
    """One model's answers to one benchmark. `figures` are its record's; score and calibration are worked out from the answers again."""

    model: str
    asked: Asked
    score: Score
    calibration: Calibration | None
    figures: Row

    @property
    def agrees(self) -> bool:
        """Whether the record's accuracy is what the answers give."""
        return abs(float(self.figures.get("accuracy", self.score.accuracy)) - self.score.accuracy) < MEANT


@dataclass(frozen=True)
class Gathered:
    """All that the page rests on. `results` go by benchmark in the recipe's order, then by model; `heldout` by model and domain."""

    name: str
    models: tuple[str, ...]
    results: tuple[Result, ...]
    comparisons: tuple[Row, ...]
    heldout: Mapping[str, Mapping[str, Row]]

    @property
    def benchmarks(self) -> tuple[Asked, ...]:
        """Those that were answered."""
        return tuple({result.asked.name: result.asked for result in self.results}.values())

    def of(self, benchmark: Asked) -> list[Result]:
        """Every model's results on one benchmark."""
        return [result for result in self.results if result.asked == benchmark]


def gather(run: Path) -> Gathered:
    """Read a run's folder. Raises Refusal where it holds no evaluation, or a file of it is not what it should be."""
    run = Path(run)
    recipe = _json(run / "recipe.json", "name a run's folder, which `medloom run` leaves behind")
    asked = {entry["name"]: _asked(entry) for entry in recipe.get("evaluate", {}).get("benchmarks", ())}
    others = [entry["name"] for entry in recipe.get("evaluate", {}).get("models", ())]
    results = [_result(folder, asked) for folder in sorted((run / "latest").glob("evaluate-*"))]
    if not results:
        raise Refusal(f"{run}: no benchmark has been answered yet; run the recipe as far as its evaluation first")
    heldout = {folder.name.removeprefix("heldout-"): _record(folder)["figures"] for folder in sorted((run / "latest").glob("heldout-*"))}
    names = {result.model for result in results} | set(heldout)
    models = (*(name for name in [*ROAD, *others] if name in names), *sorted(names - {*ROAD, *others}))
    places, order = list(asked), list(models)
    results.sort(key=lambda result: (places.index(result.asked.name), order.index(result.model)))
    compared = _record(run / "latest" / "compare")["figures"]["rows"] if (run / "latest" / "compare").exists() else []
    compared = sorted(compared, key=lambda row: (_place(places, row["benchmark"]), _place(order, row["model"])))
    return Gathered(str(recipe.get("name", "")), models, tuple(results), tuple(compared), heldout)


def words(row: Row) -> str:
    """What a comparison's row shows, by its p-values and whatever it says of itself."""
    return in_words(row["difference"], row["p_value"], row.get("holm_p"))


def _asked(entry: Row) -> Asked:
    return Asked(entry["name"], entry["kind"], entry.get("mode", "top-token"), int(entry.get("shots", 0)),
                 tuple(entry.get("seeds", ())), entry.get("domain", "medical") == "general")


def _result(folder: Path, asked: Mapping[str, Asked]) -> Result:
    record = _record(folder)
    model, name = whose(record, folder / "record.json")
    if name not in asked:
        raise Refusal(f"{folder}: answers {name}, which recipe.json does not name; run the recipe again")
    outcomes: Sequence[Outcome] = read_answers(folder / "answers.jsonl")
    return Result(model, asked[name], score_outcomes(outcomes), calibrate(outcomes), record["figures"])


def _record(folder: Path) -> dict[str, Any]:
    record = _json(folder / "record.json", "run the recipe again")
    if not isinstance(record.get("figures"), dict):
        raise Refusal(f"{folder / 'record.json'}: has no figures; run the recipe again")
    return record


def _json(path: Path, cure: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; {cure}") from None
    except ValueError as error:
        raise Refusal(f"{path}: not JSON ({error}); {cure}") from None
    if not isinstance(value, dict):
        raise Refusal(f"{path}: not a JSON object; {cure}")
    return value


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)
