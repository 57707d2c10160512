"""The tables of a card that hold scores of models on benchmarks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, floor

from .benchmarks import Known, benchmarks
from .claims import Card
from .tables import Table, number, printed, spread, turned

MEAN = re.compile(r"^(?:avg|average|mean|overall|macro[- ]?(?:avg|average))\b", re.I)
# Columns beside the scores that are none, and measures that are no share of questions.
_BESIDE = re.compile(r"^n$|^#|shots?\b|questions|documents|interval|^p\b|chance|majority|metric|version|filter|std|difference|\bdelta\b|"
                     r"^\u0394|p-value|size|params|^scores?$|^value$|^accuracy|^correct|category|type|source|licen|key", re.I)
_COUNT = re.compile(r"^(?:n|(?:#|number of |num\.? )?\s?(?:questions|items))$", re.I)
_NO_SHARE = re.compile(r"\bF1\b|rouge|bleu|bert-?score|perplexity|\bppl\b|auroc|\bauc\b|pass@|\bloss\b|\bmse\b|bits per|elo\b|human_?eval",
                       re.I)
_RUNS = re.compile(r"(?:averag\w*|\bmean\b)[^.|\n]{0,60}?\b(?:over|across|of|from)\s+(?:the\s+)?(\d{1,3}\s+)?(?:\w+\s+){0,2}?"
                   r"(?:seeds|runs|trials|repetitions|repeats)\b", re.I)


@dataclass(frozen=True)
class Score:
    """A printed score as a percentage, with half a unit of its last printed place and the spread printed after ±."""

    value: float
    half: float
    printed: str
    spread: float | None = None


@dataclass(frozen=True)
class Results:
    """A table of scores: a row for each benchmark, a column for each model; `means` are its rows of averages."""

    models: tuple[str, ...]
    rows: dict[str, dict[str, Score]]
    means: dict[str, dict[str, Score]]
    known: dict[str, Known]
    beyond: tuple[str, ...] = ()  # cells that no share can be

    def testable(self, label: str, model: str) -> tuple[Score, Known] | None:
        """A score with its benchmark, where both are known."""
        known, score = self.known.get(label), self.rows[label].get(model)
        return (score, known) if known is not None and score is not None else None


def results(card: Card) -> tuple[Results, ...]:
    """The tables of scores of a card, whichever of models and benchmarks are its rows."""
    return _results(card.tables, card.document.text)


@lru_cache(maxsize=2)  # every law of scores asks
def _results(tables: tuple[Table, ...], text: str) -> tuple[Results, ...]:
    found = []
    for table in tables:
        read = _read(table, text) or _read(turned(table), text)
        if read is not None:
            found.append(read)
    return tuple(found)


def runs_averaged(card: Card) -> int | None:
    """How many runs a printed score is the mean of: 1 where the card speaks of none, None where it does not say how many."""
    found = [match.group(1) for match in _RUNS.finditer(card.document.prose)]
    if not found:
        return 1
    counts = {int(count) for count in found if count}
    return counts.pop() if len(counts) == 1 and all(found) else None


def nearest(score: Score, n: int) -> str | None:
    """The nearest shares of n, where no whole number of n questions prints as the score; None where one does. Rounding to even, half up,
    in two steps (75.849 to 75.85 to 75.9) and cutting off are all allowed for."""
    exact = score.value / 100 * n
    counts = sorted({max(0, floor(exact)), min(n, ceil(exact))})
    shares = [100 * count / n for count in counts]
    if any(abs(share - score.value) <= 1.1 * score.half + 1e-9 or 0 <= share - score.value < 2 * score.half - 1e-9 for share in shares):
        return None
    return ", ".join(f"{count}/{n} = {100 * count / n:.2f}" for count in counts)


def score_of(cell: str, scale: float = 1.0) -> Score | None:
    """The score that a cell prints, as a percentage; None where it is no number between 0 and 100."""
    value = number(cell)
    if value is None or not 0 <= value * scale <= 100:
        return None
    digits = printed(cell)
    places = len(digits.partition(".")[2])
    half = 0.5 * 10.0**-places
    beside = spread(cell)
    digits = digits if scale == 1 else f"{value * scale:.{max(0, places - 2)}f}"
    return Score(value * scale, half * scale, digits, beside * scale if beside is not None else None)


def _read(table: Table, text: str) -> Results | None:
    if len(table.header) < 2 or len(table.rows) > 500:
        return None
    label = _label_column(table)
    columns = [place for place, cell in enumerate(table.header)
               if place != label and cell and not _BESIDE.search(cell) and _numeric(table, place)]
    names = [row[label] for row in table.rows if len(row) > label and row[label]]
    if len(set(names)) < len(names) or len({table.header[place] for place in columns}) < len(columns) or not columns:
        return None
    if any(_NO_SHARE.search(word) for word in (*table.header, *names)) or any(MEAN.match(table.header[place]) for place in columns):
        return None
    scale = _scale(table, columns)
    rows: dict[str, dict[str, Score]] = {}
    means: dict[str, dict[str, Score]] = {}
    beyond: dict[str, list[str]] = {}
    for row in table.rows:
        if len(row) <= label or not row[label]:
            continue
        scores = {table.header[place]: score for place in columns if (score := score_of(row[place], scale)) is not None}
        beyond[row[label]] = [f"{row[label]}: {table.header[place]} {row[place]}" for place in columns if _impossible_share(row[place])]
        if scores:
            (means if MEAN.match(row[label]) else rows)[row[label]] = scores
    known = _counted(table, label, benchmarks(list(rows), text))
    counted = any(_COUNT.match(cell) for cell in table.header)
    if not rows or not (known or means) or (not means and not counted and len(known) * 2 < len(rows)):
        return None
    return Results(tuple(table.header[place] for place in columns), rows, means, known,
                   tuple(cell for name in known for cell in beyond[name]))


def _counted(table: Table, label: int, known: dict[str, Known]) -> dict[str, Known]:
    """Benchmarks with the number of questions that the table itself gives, in a column or behind a name, "PubMedQA (n=500)"."""
    at = next((place for place, cell in enumerate(table.header) if _COUNT.match(cell)), None)
    stated = {row[label]: number(row[at]) for row in table.rows if at is not None and len(row) > max(at, label)}
    for name, found in list(known.items()):
        behind = re.search(r"\bn\s?=\s?(\d{1,3}(?:,\d{3})+|\d{1,7})\b", name)
        count = float(behind.group(1).replace(",", "")) if behind else stated.get(name)
        if count is not None and count >= 1 and count == int(count):
            known[name] = replace(found, sizes=(int(count),))
    return known


def _label_column(table: Table) -> int:
    """The column whose cells name benchmarks: the first, unless another of the first three names more."""
    def count(place: int) -> int:
        return len(benchmarks([row[place] for row in table.rows if len(row) > place], ""))

    places = range(min(3, len(table.header)))
    return max(places, key=lambda place: (count(place), -place))


def _numeric(table: Table, place: int) -> bool:
    cells = [row[place] for row in table.rows if len(row) > place and row[place].strip(" -\u2013\u2014")]
    return sum(number(cell) is not None for cell in cells) * 2 > len(cells) and not any(cell.startswith("+") for cell in cells)


def _scale(table: Table, columns: list[int]) -> float:
    """100 where the table prints fractions."""
    cells = [row[place] for row in table.rows for place in columns if len(row) > place and number(row[place]) is not None]
    values = [value for cell in cells if (value := number(cell)) is not None]
    fraction = bool(values) and max(values) <= 1 and any("." in cell for cell in cells) and not any("%" in cell for cell in cells)
    return 100.0 if fraction else 1.0


def _impossible_share(cell: str) -> bool:
    value = number(cell)
    return value is not None and (value < 0 or (100 < value < 1000 and "." in cell))
