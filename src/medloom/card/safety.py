"""The card's sections on what could do harm: truthfulness, risk and bias as far as they were measured, and contamination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .prose import Section, said, table
from .results import comparisons, final
from .trail import Trail, part


def truthfulness(trail: Trail) -> Section:
    """What the final model's answers tell of truth and confidence, and what nobody measured."""
    section = Section("risk", "Truthfulness, risk and bias", [])
    model = final(trail)
    kinds = {benchmark["name"]: benchmark.get("kind") for benchmark in (trail.recipe.get("evaluate") or {}).get("benchmarks") or ()}
    asked = [name for name in kinds if model is not None and f"evaluate-{model}-{name}" in trail.steps]
    truthful = [name for name in asked if kinds[name] == "truthfulqa"]
    section.words += ["- It can state falsehoods fluently, leave out what matters, and repeat the biases of the texts it was trained on.",
                      _truth(trail, model, truthful)]
    rows = []
    for name in asked:
        place = f"evaluate-{model}-{name}:figures"
        if trail.find(f"{place}/calibration/ece") is not None:
            mark = trail.new_mark()
            cells = [trail.cite(f"{model} on {name}: {field.replace('_', ' ')}", f"{place}/calibration/{field}", style, mark)
                     for field, style in _CALIBRATION]
            cells.append(trail.cite(f"{model} on {name}: p of the options' places", f"{place}/position_p", "p", mark))
            rows.append([said(name), *cells, f"[^{mark}]"])
            section.words.append(_confidence(trail, f"{model} on {name}", place, name, mark))
    if not rows:
        section.words.append("- Whether its confidence can be trusted was not measured.")
    section.words += ["- Bias between groups of patients, harmful advice, and made-up facts in free text were not measured in this run.",
                      "- No clinician reviewed its answers in this run.", ""]
    if rows:
        section.tables = [*table(["Benchmark", "Answers", "Right %", "Confidence %", "Calibration error", "Brier score",
                                  "p, chosen places", "Key"], rows),
                          "Calibration error is the expected gap between confidence and accuracy, zero at best. The last p tells whether "
                          "the places of the chosen options differ from those of the right ones: where it is small, the model prefers a "
                          "letter for its own sake.", ""]
    return section


_CALIBRATION = (("n", "plain"), ("accuracy", "percent"), ("confidence", "percent"), ("ece", "fixed"), ("brier", "fixed"))


def _truth(trail: Trail, model: str | None, benchmarks: list[str]) -> str:
    if not benchmarks:
        return "- Truthfulness was not measured: no benchmark of common misconceptions was asked."
    told = [f"{trail.cite(f'{model} on {name}: accuracy', f'evaluate-{model}-{name}:figures/accuracy', 'percent')} % on {said(name)}"
            for name in benchmarks]
    return f"- Truthfulness, the share of questions on common misconceptions that {said(model)} answers rightly: {', '.join(told)}."


def _confidence(trail: Trail, who: str, place: str, name: str, mark: int) -> str:
    over = trail.find(f"{place}/calibration/overconfidence")
    confidence = trail.cite(f"{who}: confidence", f"{place}/calibration/confidence", "percent", mark)
    right = trail.cite(f"{who}: accuracy", f"{place}/calibration/accuracy", "percent", mark)
    verdict = "it is too sure of itself" if over is not None and over > 0 else "it is not too sure of itself on average"
    return f"- Confidence on {said(name)}: {confidence} % on average, where {right} % of the answers are right: {verdict}."


def contamination(trail: Trail) -> Section:
    """Whether the questions stood in what was read: the search of the corpus, and the answers to questions that were and were not read."""
    section = Section("contamination", "Contamination", [])
    searched = trail.find("corpus:figures/benchmarks")
    if isinstance(searched, Mapping) and searched:
        section.words.append("The corpus was searched for the questions of every benchmark before training, and documents that hold them "
                             "were taken out.")
        rows = [_searched(trail, name) for name, counts in searched.items() if isinstance(counts, Mapping)]
        section.tables += table(["Benchmark sought in the corpus", "Questions", "Questions found", "Documents taken out", "Key"], rows)
    else:
        section.words.append("The corpus was not searched for the questions of the benchmarks.")
    rows = [row for _, result in _answers(trail) for row in [_read(trail, result)] if row is not None]
    if rows:
        section.tables += table(["Model", "Benchmark", "Questions read in training", "Right of them %", "Not read", "Right of them %",
                                 "Key"], rows)
    if trail.find("tokens:figures/passport/entries") is not None:
        section.words.append("`passport.parquet` beside the weights is a sketch of the word n-grams that were read; with it `medloom "
                             "contamination MODEL BENCHMARK` tells how much of any benchmark stood in the training text.")
    section.words += ["What the base model had read before is not known here.", ""]
    return section


def _searched(trail: Trail, name: str) -> list[str]:
    mark, place = trail.new_mark(), f"corpus:figures/benchmarks/{part(name)}"
    cells = [trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", "plain", mark)
             for field in ("questions", "questions_touched", "documents_dropped")]
    return [said(name), *cells, f"[^{mark}]"]


def _answers(trail: Trail) -> list[tuple[str, dict[str, Any]]]:
    return [(place, row) for place, row in comparisons(trail) if row["model"] == final(trail)]


def _read(trail: Trail, row: dict[str, Any]) -> list[str] | None:
    """The final model's answers, apart for questions that stood in the training text and those that did not."""
    place = f"evaluate-{row['model']}-{row['benchmark']}:figures/contamination"
    if not isinstance(trail.find(place), Mapping):
        return None
    mark, name = trail.new_mark(), f"{row['model']} on {row['benchmark']}"
    cells = [trail.cite(f"{name}: {field.replace('/', ', ')}", f"{place}/{field}", style, mark) for field, style in _READ]
    return [said(row["model"]), said(row["benchmark"]), *cells, f"[^{mark}]"]


_READ = (("contaminated/n", "plain"), ("contaminated/accuracy", "percent"), ("clean/n", "plain"), ("clean/accuracy", "percent"))
