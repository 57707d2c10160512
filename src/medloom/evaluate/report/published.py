"""Published figures beside ours, for benchmarks that ask the same questions, and those among them which cannot be right.

Only a paper's shares are known, not its answers: nothing of this is paired, and prompts and readings differ.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from statistics import stdev
from typing import Any

from ...numbers import wilson
from .gather import Gathered, Result
from .tables import Table, between, how, percent

MARK = "published, unpaired"
ROUNDING = 0.0005 + 1e-9  # of a share printed in percent with one decimal


@dataclass(frozen=True)
class Published:
    """One printed figure, as a share of one. `column` names what it was measured on, `remarks` say why it cannot be right."""

    column: str
    title: str
    model: str
    source: str
    how: str
    share: float
    spread: float | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Beside:
    """A part of what a run asked (all of a benchmark, or one group), and what is published of the same questions."""

    title: str
    group: str | None
    results: tuple[Result, ...]
    published: tuple[Published, ...]


def beside(gathered: Gathered) -> list[Beside]:
    """What is published of the run's own benchmarks, the whole of each before its groups."""
    book = tomllib.loads(files(__package__).joinpath("published.toml").read_text(encoding="utf-8"))
    every = list(_figures(book))
    found = []
    for asked in gathered.benchmarks:
        results = gathered.of(asked)
        column = next((name for name, spec in book["columns"].items() if _same(results[0], spec)), None)
        if column is None:
            continue
        groups = {f"{column}/{group}".casefold().replace(" ", "_"): group for result in results for group in result.score.groups}
        for name in dict.fromkeys([column, *(one.column for one in every if one.column.casefold() in groups)]):
            known = tuple(one for one in every if one.column == name)
            found.append(Beside(known[0].title, groups.get(name.casefold()), tuple(results), known))
    return found


def published_table(known: list[Beside]) -> Table:
    """The run's accuracies and the printed ones, under each other."""
    rows: list[tuple[str, ...]] = []
    for part in known:
        for result in part.results:
            score = asdict(result.score) if part.group is None else result.score.groups.get(part.group)
            if score is None:
                continue
            rows.append((part.title, result.model, f"this run: {how(result.asked)}",
                         f"{percent(score['accuracy'])} ({between(score['low'], score['high'])})", ""))
        rows += [(part.title, one.model, f"{MARK}: {one.source}, {one.how}",
                  percent(one.share) + (f" ± {100 * one.spread:.1f}" if one.spread is not None else ""), " ".join(one.remarks))
                 for one in part.published]
    return Table("published", ("benchmark", "model", "where and how", "accuracy", "remark"), tuple(rows), (0, 1, 2, 4),
                 "The Meditron paper (Chen et al. 2023, arXiv 2311.16079) gives shares without its answers, so its rows cannot be paired "
                 "with ours and carry no test; prompts, shots and the reading of answers differ, and of TruthfulQA the paper drew four "
                 "options a question. Behind ± stands the standard deviation over seeds, not an interval.")


def _same(result: Result, spec: dict[str, Any]) -> bool:
    """Whether a benchmark has as many questions, of as many options, as the published one: an invented one has not."""
    told = result.figures.get("integrity") or {}
    options = max((int(size) for size in told.get("options", ())), default=0)
    return bool(result.asked.kind == spec["kind"] and told.get("questions") == spec["questions"]
                and spec.get("options", options) == options)


def _figures(book: dict[str, Any]) -> Iterator[Published]:
    for table in book["tables"]:
        for place, column in enumerate(table["columns"]):
            whole, _, part = column.partition("/")
            spec = book["columns"][whole]
            title = spec["title"] + (f": {part.replace('_', ' ')}" if part else "")
            questions = book["parts"].get(column) if part else spec["questions"]
            for model, row in table["rows"].items():
                share, spread = row["values"][place] / 100, row["spreads"][place] / 100 if "spreads" in row else None
                remarks = [*_not_a_count(share, questions if "seeds" not in table and column not in table.get("means", ()) else None),
                           *_under_chance(share, questions, spec["chance"] / 100), *_too_wide(share, spread, table.get("seeds"))]
                yield Published(column, title, model, table["source"], table["how"], share, spread, tuple(remarks))


def _not_a_count(share: float, questions: int | None) -> Iterator[str]:
    if questions is None:
        return
    under = math.floor(share * questions + ROUNDING)
    if all(abs(share - right / questions) > ROUNDING for right in (under, under + 1)):
        yield f"Cannot be right: of {questions} questions, {under} right are {percent(under / questions)} and {under + 1} are " \
              f"{percent((under + 1) / questions)}."


def _under_chance(share: float, questions: int | None, chance: float) -> Iterator[str]:
    if questions and share < chance:
        far = wilson(share * questions, questions)[1] < chance
        yield f"Below blind guessing ({percent(chance)})" + (
            f" by more than {questions} questions vary, which points to misread answers and not to a lack of knowledge." if far else ".")


def _too_wide(share: float, spread: float | None, seeds: int | None) -> Iterator[str]:
    """No values between 0 and 1 with this mean are further apart than when all but one stand at the ends."""
    if spread is None or seeds is None:
        return
    full = math.floor(seeds * share)
    widest = stdev([1.0] * full + [seeds * share - full] + [0.0] * (seeds - full - 1))
    if spread > widest + ROUNDING:
        yield f"Cannot be right: {seeds} shares with this mean differ by {100 * widest:.1f} points at most."
