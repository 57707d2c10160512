"""Laws of shares: k of n questions, between none and all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

from ..claims import Card
from ..finding import Finding
from ..scores import Score, nearest, results, runs_averaged, score_of
from ..tables import number

_MEANS = (2, 3)  # languages, seeds, annotators that a score may be the mean of without a word
_MANY = 3  # cells of one row or column that fail together tell of another denominator, not of a slip


@dataclass(frozen=True)
class _Cell:
    label: str
    model: str
    score: Score
    n: int
    near: str | None  # the nearest shares of the usual number of questions, where the score is none
    other: int | None  # another published number of questions that the score is a share of
    parts: int | None  # of how many equal parts it may be the mean, where it is no share of one


def whole_questions(card: Card) -> Iterator[Finding]:
    """A share of n questions is k / n for a whole k, and the mean of r runs K / (r n) (GRIM; Brown and Heathers 2017,
    doi:10.1177/1948550616673876). Where it is a share of another published number of questions, that is a note."""
    runs = runs_averaged(card)
    for table in results(card) if runs is not None else ():
        cells = []
        for label in table.rows:
            for model in table.models:
                found = table.testable(label, model)
                if found is None or (found[0].spread is not None and runs == 1):
                    continue
                score, known = found
                sizes = [n * (runs or 1) for n in known.sizes]
                if 2 * score.half * sizes[0] < 100:  # else every print is some share
                    near = [nearest(score, n) for n in sizes]
                    other = next((n for n, told in zip(sizes, near, strict=True) if told is None), None)
                    parts = next((r for r in _MEANS if runs == 1 and nearest(score, r * sizes[0]) is None), None)
                    cells.append(_Cell(label, model, score, sizes[0], near[0], other, parts))
        yield from _told(cells)
    yield from _own_counts(card)


def ranges(card: Card) -> Iterator[Finding]:
    """Shares lie between 0 and 100 %; scores of mean m between 0 and 100 have a standard deviation of sqrt(m (100 - m) r / (r - 1)) at
    most over r runs (Popoviciu 1935, with the sample's r - 1), which is largest for 2."""
    runs = runs_averaged(card)
    r = runs if runs is not None and runs > 1 else 2
    for table in results(card):
        for cell in table.beyond:
            yield Finding("range", "error", f"{cell} is no share.", "0 <= share <= 100", "Correct the cell.", cell)
        for label, row in table.rows.items():
            for model, score in row.items():
                most = sqrt(score.value * (100 - score.value) * r / (r - 1))
                if score.spread is not None and label in table.known and score.spread > most + score.half:
                    yield Finding("range", "warning",
                                  f"{label} of {model}: a spread of {score.spread:g} is more than scores of mean {score.printed} can have.",
                                  f"sqrt({score.printed} x (100 - {score.printed}) x {r} / {r - 1}) = {most:.1f}",
                                  "Say what stands after \u00b1, and over how many runs.",
                                  f"{label}: {model} {score.printed} \u00b1 {score.spread:g}")


def _told(cells: list[_Cell]) -> Iterator[Finding]:
    """A row or a column that fails as a whole in one warning, the others cell by cell."""
    yield from _of_another_number(cells)
    left = [cell for cell in cells if cell.near is None or cell.other is None]
    for side in ("label", "model"):
        for name in dict.fromkeys(getattr(cell, side) for cell in left):
            group = [cell for cell in left if getattr(cell, side) == name]
            wrong = [cell for cell in group if cell.near]
            if len(wrong) >= _MANY and 2 * len(wrong) > len(group):
                left = [cell for cell in left if cell not in wrong]
                yield Finding("whole-questions", "warning",
                              f"{len(wrong)} of {len(group)} scores of {name} are no share of the published number of questions.",
                              "; ".join(f"{cell.label} of {cell.model} {cell.score.printed} of {cell.n}: nearest {cell.near}"
                                        for cell in wrong[:3]),
                              "Say which questions were asked, how many, and whether the scores are means of several runs.",
                              f"{wrong[0].label}: {wrong[0].model} {wrong[0].score.printed}")
    yield from _of_a_mean([cell for cell in left if cell.near and cell.parts])
    for cell in left:
        if cell.near and not cell.parts:
            yield Finding("whole-questions", "error",
                          f"{cell.label} of {cell.model}, {cell.score.printed} %, is no share of {cell.n} questions.",
                          f"nearest: {cell.near}", "Look the count up again; or say how many runs the number averages.",
                          f"{cell.label}: {cell.model} {cell.score.printed}")


def _of_another_number(cells: list[_Cell]) -> Iterator[Finding]:
    for label in dict.fromkeys(cell.label for cell in cells if cell.near and cell.other):
        group = [cell for cell in cells if cell.label == label and cell.near and cell.other]
        first = group[0]
        yield Finding("whole-questions", "note",
                      f"{', '.join(cell.score.printed for cell in group)} on {label}: no share of the usual {first.n} questions, but "
                      f"one of {first.other}.",
                      f"nearest: {first.near}; {first.score.value / 100 * (first.other or 0):.2f}/{first.other} = {first.score.printed} %",
                      "Say how many questions were asked.", f"{label}: {first.model} {first.score.printed}")


def _of_a_mean(cells: list[_Cell]) -> Iterator[Finding]:
    """Scores that are no shares, but may be means of a few."""
    if cells:
        told = [f"{cell.label} of {cell.model} {cell.score.printed}" for cell in cells]
        sums = [f"{cell.score.printed}: of {cell.n} nearest {cell.near}; "
                f"{round(cell.score.value / 100 * cell.n * (cell.parts or 1))}/({cell.parts} x {cell.n})" for cell in cells[:4]]
        yield Finding("whole-questions", "warning",
                      f"{', '.join(told)}: no share of the published number of questions, unless a mean of {cells[0].parts} runs or parts.",
                      " | ".join(sums), "Look the count up again; or say how many runs or parts the number averages.",
                      f"{cells[0].label}: {cells[0].model} {cells[0].score.printed}")


def _own_counts(card: Card) -> Iterator[Finding]:
    """The same where a table has columns for n and for the share that is right."""
    for table in card.tables:
        header = [cell.lower() for cell in table.header]
        sizes = [place for place, cell in enumerate(header) if cell in ("n", "questions", "items")]
        shares = [place for place, cell in enumerate(header) if re.match(r"^(?:correct|accuracy|acc\.?)\b", cell)]
        if len(sizes) != 1 or not shares:
            continue
        for row in table.rows:
            n = number(row[sizes[0]]) if len(row) > max(sizes[0], *shares) else None
            for place in shares if n is not None and 1 <= n < 1e9 and n == int(n) else ():
                value = number(row[place])
                fraction = value is not None and value <= 1 and "." in row[place] and "%" not in header[place] + row[place]
                score = score_of(row[place], 100.0 if fraction else 1.0)
                near = nearest(score, int(n or 0)) if score is not None else None
                if score is not None and near is not None:
                    yield Finding("whole-questions", "error", f"{row[0]}: {score.printed} is no share of {n:g} questions.",
                                  f"nearest: {near}", "Look the count up again.", " | ".join(row))

