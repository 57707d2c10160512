"""Laws of averages and totals: what is printed under a column is what the column comes to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..cells import kind_of
from ..claims import Card
from ..finding import Finding
from ..quantity import Quantity, quantity
from ..scores import Results, Score, results
from ..tables import Table, turned

_TOTAL = re.compile(r"^(?:grand\s)?(?:total|sum)s?(?:\s(?:tokens|documents|articles|questions))?\s?(?:\([^)]*\))?:?$", re.I)
_OTHER_MEAN = re.compile(r"weight|micro|pooled|geometric|harmonic|median", re.I)
_PART = re.compile(r"^\s*(?:of which|sub-?total|including|thereof|[-\u2514\u21b3])", re.I)
_CELL = re.compile(r"^~?\s?(\d{1,3}(?:,\d{3}){1,4}(?:\.\d+)?|\d{1,15}(?:\.\d{1,9})?)\s?([TBMK]?)\b(\s?\S{0,10})$", re.I)
_ONE_COUNT = 3  # of the columns must hold before one that does not is an error of its own


def means(card: Card) -> Iterator[Finding]:
    """A printed average is the mean of its column, or the share of all questions, or a mean that counts each set of questions once."""
    for table in results(card):
        for label, row in table.means.items():
            if _OTHER_MEAN.search(label):
                continue
            wrong = [(model, score, found) for model, score in row.items() if (found := _off(table, model, score)) is not None]
            checked = sum(len(_column(table, model)) >= 2 for model in row)
            if len(wrong) == checked >= _ONE_COUNT:
                model, score, (mean, sums, _) = wrong[0]
                yield Finding("mean", "warning", f"{label} is not the mean of what stands above it, for any of {checked} models.",
                              f"{model}: {sums}, printed {score.printed}",
                              "Say what the average is over and how it weighs.", f"{label}: {model} {score.printed}")
                continue
            for model, score, (mean, sums, outside) in wrong:
                yield Finding("mean", "error" if outside or checked >= _ONE_COUNT else "warning",
                              f"{label} of {model} is printed as {score.printed}, and its column averages to {mean:.2f}.", sums,
                              "Correct the average or the score that was mistyped.", f"{label}: {model} {score.printed}")


def totals(card: Card) -> Iterator[Finding]:
    """A row or column of totals is the sum of the others."""
    for table in card.tables:
        for facing in (table, turned(table)):
            at = [place for place, row in enumerate(facing.rows) if row and _TOTAL.match(row[0])]
            parts = facing.rows[: at[0]] if at else ()
            if len(at) != 1 or not 2 <= len(parts) <= 500 or any(_PART.match(row[0]) or kind_of(row[0]) for row in parts if row):
                continue
            for place in range(1, len(facing.rows[at[0]])):
                yield from _total(facing, parts, facing.rows[at[0]], place)
            break


def pooling(card: Card) -> Iterator[Finding]:
    """An unweighted mean over groups of very unequal size is not the share of questions answered rightly."""
    for table in results(card):
        sizes = [table.known[label].n for label in table.rows if label in table.known]
        if not table.means or len(sizes) < len(table.rows) or max(sizes) < 3 * min(sizes) or not _parts_of_one(table):
            continue
        label, row = next(iter(table.means.items()))
        told = [(model, score.printed, found) for model, score in row.items() if (found := pooled(table, model)) is not None]
        if all(abs(share[0] - float(mean)) <= 1 for _, mean, share in told):
            continue
        yield Finding("pooling", "note", f"{label} gives groups of {', '.join(map(str, sizes))} questions the same weight.",
                      "share of all questions: "
                      + ", ".join(f"{model} {share[0]:.1f} (printed {mean}) = {share[1]}" for model, mean, share in told),
                      "Print the share of all questions beside the mean of groups.", f"{label}: {', '.join(mean for _, mean, _ in told)}")


def double_counting(card: Card) -> Iterator[Finding]:
    """An average counts no question twice: neither one set under two names, nor a part beside its whole."""
    for table in results(card):
        if not table.means:
            continue
        sets: dict[str, list[str]] = {}
        for label, known in table.known.items():
            whole, _, part = known.questions.partition("/")
            sets.setdefault(known.questions, []).append(label)
            if part and whole in sets:
                sets[whole].append(label)
        for labels in sets.values():
            if len(labels) < 2:
                continue
            told = []
            for model in table.models:
                column = _column(table, model, leaving=labels[1:])
                if column:
                    told.append(f"{model} {_mean(column):.1f}")
            yield Finding("double-counting", "warning",
                          f"The average counts the questions of {labels[0]} {len(labels)} times ({', '.join(labels)}).",
                          f"without {', '.join(labels[1:])}: {', '.join(told)}", "Average over distinct sets of questions.",
                          ", ".join(labels))


def pooled(table: Results, model: str) -> tuple[float, str] | None:
    """The share of all questions that a model answered rightly, and its counts, where the rows are parts of one benchmark."""
    if not _parts_of_one(table) or any(model not in row for row in table.rows.values()):
        return None
    sizes = [table.known[label].n for label in table.rows]
    counts = [round(row[model].value / 100 * n) for row, n in zip(table.rows.values(), sizes, strict=True)]
    return 100 * sum(counts) / sum(sizes), f"{sum(counts)}/{sum(sizes)}"


def _weighted(table: Results, model: str) -> float | None:
    """The mean weighted by questions, where every row's number of them is known."""
    if len(table.known) < len(table.rows) or any(model not in row for row in table.rows.values()):
        return None
    sizes = {label: known.n for label, known in table.known.items()}
    return sum(row[model].value * sizes[label] for label, row in table.rows.items()) / sum(sizes.values())


def _off(table: Results, model: str, score: Score) -> tuple[float, str, bool] | None:
    """The mean of a column with its sum, and whether the printed one lies outside the column; None where the printed one holds."""
    column = _column(table, model)
    if len(column) < 2:
        return None
    twice = [label for place, (label, known) in enumerate(table.known.items())
             if known.questions in [other.questions for other in list(table.known.values())[:place]]]
    once = _column(table, model, leaving=twice)
    if any(len(part) >= 2 and abs(_mean(part) - score.value) < _slack(part) + score.half - 1e-9 for part in (column, once)):
        return None
    whole = pooled(table, model)
    weighted = _weighted(table, model)
    if any(share is not None and abs(share - score.value) <= score.half + 0.05 for share in (whole[0] if whole else None, weighted)):
        return None
    mean = _mean(column)
    sums = f"({' + '.join(found.printed for found in column)}) / {len(column)} = {mean:.2f}"
    sums += f"; share of all questions {whole[1]} = {whole[0]:.1f}" if whole is not None else ""
    return mean, sums, not min(found.value for found in column) <= score.value <= max(found.value for found in column)


def _column(table: Results, model: str, leaving: list[str] | None = None) -> list[Score]:
    return [row[model] for label, row in table.rows.items() if model in row and label not in (leaving or [])]


def _mean(column: list[Score]) -> float:
    return sum(score.value for score in column) / len(column)


def _slack(column: list[Score]) -> float:
    return sum(score.half for score in column) / len(column)


def _parts_of_one(table: Results) -> bool:
    wholes = {known.questions.partition("/")[0] for known in table.known.values()}
    return len(wholes) == 1 and len(table.known) == len(table.rows) > 1


def _total(table: Table, parts: tuple[tuple[str, ...], ...], last: tuple[str, ...], place: int) -> Iterator[Finding]:
    whole = _amount(last[place])
    amounts = [found for row in parts if len(row) > place and (found := _amount(row[place])) is not None]
    empty = [row for row in parts if len(row) <= place or not row[place].strip(" -\u2013\u2014")]
    if whole is None or len(amounts) < 2 or len(amounts) + len(empty) < len(parts):
        return
    made = sum(found.value for found in amounts)
    slack = sum(found.half for found in amounts) + whole.half
    if abs(made - whole.value) <= slack * (1 + 1e-9) + 1e-9 * whole.value:
        return
    if _as_mean(made / len(amounts), whole, slack):
        return
    column = table.header[place] if place < len(table.header) else f"column {place + 1}"
    cells = [row[place] for row in parts if len(row) > place and _amount(row[place])]
    told = " + ".join(cells) if len(cells) <= 20 else f"{len(cells)} rows"
    yield Finding("total", "error",
                  f"{last[0]} of {column} is printed as {last[place]}, and the rows sum to {_printed(made, last[place])}.",
                  f"{told} = {_printed(made, last[place])}", "Correct the total, or list the part that is missing.",
                  f"{last[0]}: {column} {last[place]}")


def _as_mean(mean: float, whole: Quantity, slack: float) -> bool:
    """Whether a row of totals holds a column's mean, as it may for rates and scores."""
    return abs(mean - whole.value) <= slack


def _amount(cell: str) -> Quantity | None:
    found = _CELL.match(cell.strip(" *"))
    return quantity(found.group(1), found.group(2)) if found and "%" not in cell else None


def _printed(value: float, like: str) -> str:
    """A sum in the scale of the cell that it is held against."""
    found = _CELL.match(like.strip(" *"))
    scale = quantity("1", found.group(2)) if found else None
    shown = f"{value / (scale.value if scale else 1):,.3f}".rstrip("0").rstrip(".")
    return f"{shown}{found.group(2) if found else ''}"
