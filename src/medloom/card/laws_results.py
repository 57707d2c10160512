"""Laws of result tables: means, whole questions, chance, double counting, and claims of being better."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, erfc, floor, sqrt

from ..numbers import wilson
from .claims import Card, sentence
from .finding import Finding
from .known import Known, bare, benchmark
from .tables import Table, number
from .words import LEVEL

_MEAN = re.compile(r"^(?:avg|average|mean|overall)\b", re.I)
_MEASURE = re.compile(r"^n$|\b(?:questions|documents)\b|interval|^p\b|chance|metric|difference|score", re.I)
_BETTER = re.compile(r"\b(?:outperform\w*|surpass\w*|better than|superior to|exceed\w*|state[- ]of[- ]the[- ]art)\b", re.I)


@dataclass(frozen=True)
class Score:
    """A printed score as a percentage, with half a unit of its last printed place."""

    value: float
    half: float
    printed: str


Comparison = tuple[str, Score, Score, int, float]  # benchmark, own score, the other's, questions, p-value


@dataclass(frozen=True)
class Results:
    """A table of scores: a row for each benchmark, a column for each model; `means` are its rows of averages."""

    models: tuple[str, ...]
    rows: dict[str, dict[str, Score]]
    means: dict[str, dict[str, Score]]
    known: dict[str, Known]


def results(card: Card) -> list[Results]:
    """The tables of a card that hold scores of models on benchmarks, whichever of the two are its rows."""
    found = []
    for table in card.tables:
        for turned in (table, _turn(table)):
            read = _read(turned, card.text)
            if read is not None:
                found.append(read)
                break
    return found


def means(card: Card) -> Iterator[Finding]:
    """A printed average is the mean of what stands above it."""
    for table in results(card):
        for label, row in table.means.items():
            for model, printed in row.items():
                scores = [scores[model] for scores in table.rows.values() if model in scores]
                if len(scores) < 2:
                    continue
                mean = sum(score.value for score in scores) / len(scores)
                slack = sum(score.half for score in scores) / len(scores) + printed.half
                pooled = _pooled(table, model)
                if abs(mean - printed.value) < slack - 1e-9 or (pooled is not None and abs(pooled - printed.value) <= printed.half + 0.05):
                    continue
                inside = min(s.value for s in scores) <= printed.value <= max(s.value for s in scores)
                sums = f"({' + '.join(score.printed for score in scores)}) / {len(scores)} = {mean:.2f}"
                sums += f"; weighted by questions {pooled:.1f}" if pooled is not None else ""
                yield Finding("mean", "error" if pooled is not None or not inside else "warning",
                              f"{label} of {model} is printed as {printed.printed}, and its column averages to {mean:.2f}.", sums,
                              "Correct the average or the score that was mistyped.", f"{label}: {model} {printed.printed}")


def pooling(card: Card) -> Iterator[Finding]:
    """An unweighted mean over groups of very unequal size is not the share of questions answered rightly."""
    for table in results(card):
        sizes = [table.known[label].n for label in table.rows if label in table.known]
        if not table.means or len(sizes) < len(table.rows) or max(sizes) < 3 * min(sizes) or not _parts_of_one(table):
            continue
        label, row = next(iter(table.means.items()))
        told = [(model, printed.printed, pooled) for model, printed in row.items() if (pooled := _pooled(table, model)) is not None]
        yield Finding("pooling", "note", f"{label} gives groups of {', '.join(map(str, sizes))} questions the same weight.",
                      "share of all questions: " + ", ".join(f"{model} {share:.1f} (printed {mean})" for model, mean, share in told),
                      "Print the share of all questions beside the mean of groups.",
                      f"{label}: {', '.join(mean for _, mean, _ in told)}")


def whole_questions(card: Card) -> Iterator[Finding]:
    """A share of n questions is k / n for a whole k (the GRIM test; Brown and Heathers 2017, doi:10.1177/1948550616673876)."""
    for table in results(card):
        for label, row in table.rows.items():
            known = table.known.get(label)
            for model, score in row.items() if known is not None else ():
                assert known is not None
                near = _impossible(score, known.n)
                if near is not None:
                    yield Finding("whole-questions", "error",
                                  f"{label} of {model}, {score.printed} %, is no share of {known.n} questions.", near,
                                  "Look the count up again; or say how many runs the number averages.", f"{label}: {model} {score.printed}")
    yield from _own_counts(card)


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
            for place in shares if n is not None and n >= 1 else ():
                value = number(row[place])
                fraction = value is not None and value <= 1 and "." in row[place] and "%" not in header[place] + row[place]
                score = _score(row[place], fraction)
                near = _impossible(score, int(n or 0)) if score is not None else None
                if score is not None and near is not None:
                    yield Finding("whole-questions", "error", f"{row[0]}: {score.printed} is no share of {n:g} questions.", near,
                                  "Look the count up again.", " | ".join(row))


def below_chance(card: Card) -> Iterator[Finding]:
    """A score whose whole interval lies below guessing measures how answers are read, not what is known."""
    for table in results(card):
        low = []
        for label, row in table.rows.items():
            known = table.known.get(label)
            for model, score in row.items() if known is not None else ():
                assert known is not None
                high = 100 * wilson(score.value / 100 * known.n, known.n)[1]
                if high < 100 * known.chance:
                    sums = f"{score.printed} % of {known.n}, interval up to {high:.1f}, guessing {100 * known.chance:.1f}"
                    low.append((f"{model} on {label}", sums))
        if low:
            yield Finding("below-chance", "warning", f"Below what guessing gives: {', '.join(which for which, _ in low)}.",
                          "; ".join(f"{which}: {sums}" for which, sums in low),
                          "Print how many answers could not be read, and do not count a model that fails at the format as a baseline.",
                          low[0][0])


def double_counting(card: Card) -> Iterator[Finding]:
    """An average counts no set of questions twice."""
    for table in results(card):
        sets: dict[str, list[str]] = {}
        for label in table.rows:
            if label in table.known:
                sets.setdefault(table.known[label].questions, []).append(label)
        for labels in sets.values():
            if len(labels) < 2 or not table.means:
                continue
            kept = [label for label in table.rows if label not in labels[1:]]
            told = []
            for model in table.models:
                scores = [table.rows[label][model].value for label in kept if model in table.rows[label]]
                if scores:
                    told.append(f"{model} {sum(scores) / len(scores):.1f}")
            yield Finding("double-counting", "warning",
                          f"The average counts the questions of {labels[0]} {len(labels)} times ({', '.join(labels)}).",
                          f"without {', '.join(labels[1:])}: {', '.join(told)}", "Average over distinct sets of questions.",
                          ", ".join(labels))


def claims_of_better(card: Card) -> Iterator[Finding]:
    """Where the prose says better than a model, every comparison of the tables with that model is held to it."""
    claimed = [(sentence(card.prose, found.start()), found.group()) for found in _BETTER.finditer(card.prose)]
    pairs: dict[tuple[str, str], tuple[str, list[Comparison]]] = {}
    for quote, word in claimed:
        before, _, after = quote.partition(word)
        for table in results(card):
            own = next((model for model in table.models if _names(before, model)), None)
            for other in table.models:
                if own is None or other == own or not _names(after, other):
                    continue
                _, lines = pairs.setdefault((bare(own), bare(other)), (quote, []))
                seen = {line[0] for line in lines}
                lines += [line for line in _comparisons(table, own, other) if line[0] not in seen]
    for (own, other), (quote, lines) in pairs.items():
        yield from _held_to(own, other, quote, lines)


def _comparisons(table: Results, own: str, other: str) -> Iterator[Comparison]:
    for label, row in table.rows.items():
        known = table.known.get(label)
        if known is not None and own in row and other in row:
            yield label, row[own], row[other], known.n, _two_shares(row[own].value, row[other].value, known.n)


def _held_to(own: str, other: str, quote: str, lines: list[Comparison]) -> Iterator[Finding]:
    """One claim against the tables: unpaired two-sided tests of two shares, since a card prints no paired counts; Holm over all."""
    lower = [label for label, mine, theirs, _, _ in lines if mine.value < theirs.value]
    order = sorted(range(len(lines)), key=lambda place: lines[place][4])
    unshown, highest = [], 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, lines[place][4] * (len(lines) - rank)))
        if highest >= LEVEL and lines[place][0] not in lower:
            unshown.append(lines[place][0])
    if lower or unshown:
        sums = "; ".join(f"{label} {mine.printed} - {theirs.printed} = {mine.value - theirs.value:+.1f} (n {n}, p {p:.2g})"
                         for label, mine, theirs, n, p in lines)
        words = [f"it is lower on {', '.join(lower)}" if lower else "",
                 f"a difference is not shown on {', '.join(unshown)}" if unshown else ""]
        yield Finding("better-than", "warning", f"{own} is said to be better than {other}: {'; '.join(word for word in words if word)}.",
                      f"{sums}; unpaired two-sided tests, corrected by Holm over {len(lines)}",
                      "Say on which benchmarks it is better, with paired differences and their intervals.", quote)


def own_numbers(card: Card) -> Iterator[Finding]:
    """The card of a quantised file shows the scores of that file, not of the model it was made from."""
    said = re.search(r"[^.\n]{0,60}\bquanti[sz]ed (?:version|form|copy|file)s?\b[^.\n]{0,60}", card.prose, re.I)
    told = re.compile(r"\b(?:I?Q\d_\w+|F16|BF16|[48][- ]bit)\b")
    shown = any(told.search(cell) for table in card.tables for row in (table.header, *table.rows) for cell in row)
    if said and results(card) and not shown:
        yield Finding("own-numbers", "warning",
                      "The card is of a quantised file, and its result tables name no quantisation: they are the original's.",
                      "no cell of any table names a file type such as Q4_K_M", "Measure each file and print its own scores and its loss.",
                      re.sub(r"\s+", " ", said.group()).strip())


def _turn(table: Table) -> Table:
    """Rows for columns, where every row is as long as the header."""
    if not table.header or any(len(row) != len(table.header) for row in table.rows):
        return Table((), ())
    columns = list(zip(table.header, *table.rows, strict=True))
    return Table(columns[0], tuple(columns[1:])) if columns else Table((), ())


def _read(table: Table, text: str) -> Results | None:
    if len(table.header) < 2:
        return None
    models = tuple(table.header[1:])
    numbers = [value for row in table.rows for cell in row[1:] if (value := number(cell)) is not None]
    fraction = bool(numbers) and max(numbers) <= 1 and any("." in cell for row in table.rows for cell in row[1:])
    rows: dict[str, dict[str, Score]] = {}
    averages: dict[str, dict[str, Score]] = {}
    for row in table.rows:
        scores = {model: score for model, cell in zip(models, row[1:], strict=False) if (score := _score(cell, fraction)) is not None}
        if scores and len(scores) * 2 >= len(row) - 1:
            (averages if _MEAN.match(row[0]) else rows)[row[0]] = scores
    known = {label: found for label in rows if (found := benchmark(label, text)) is not None}
    measures = sum(_MEASURE.search(model) is not None for model in models)
    if not rows or measures or not (known or averages) or (not averages and len(known) * 2 < len(rows)):
        return None
    return Results(models, rows, averages, known)


def _score(cell: str, fraction: bool) -> Score | None:
    value = number(cell)
    if value is None:
        return None
    digits = cell.strip().rstrip("%* ")
    half = 0.5 * 10.0 ** -len(digits.partition(".")[2])
    scale = 100.0 if fraction else 1.0
    return Score(value * scale, half * scale, digits) if 0 <= value * scale <= 100 else None


def _impossible(score: Score, n: int) -> str | None:
    """The nearest shares, where no whole number of n questions prints as the score."""
    exact = score.value / 100 * n
    counts = sorted({max(0, floor(exact)), min(n, ceil(exact))})
    if any(abs(100 * count / n - score.value) <= score.half + 1e-9 for count in counts):
        return None
    return f"nearest: {', '.join(f'{count}/{n} = {100 * count / n:.2f}' for count in counts)}"


def _pooled(table: Results, model: str) -> float | None:
    """The share of all questions that a model answered rightly, where every row's n is known and they are parts of one benchmark."""
    if not _parts_of_one(table) or any(label not in table.known or model not in row for label, row in table.rows.items()):
        return None
    sizes = {label: table.known[label].n for label in table.rows}
    return 100 * sum(round(table.rows[label][model].value / 100 * n) for label, n in sizes.items()) / sum(sizes.values())


def _parts_of_one(table: Results) -> bool:
    wholes = {known.questions.partition("-")[0] for known in table.known.values()}
    return len(wholes) == 1 and len(table.known) == len(table.rows)


def _two_shares(a: float, b: float, n: int) -> float:
    """Two-sided p-value of two independent shares of n questions each being one (pooled normal approximation)."""
    share = (a + b) / 200
    spread = sqrt(2 * share * (1 - share) / n)
    return erfc(abs(a - b) / 100 / spread / sqrt(2)) if spread else 1.0


def _names(words: str, model: str) -> bool:
    """Whether a passage names a model: a word of it begins the model's name or is it."""
    own = bare(model)
    found = [bare(word) for word in re.findall(r"[A-Za-z][\w.-]*\d[\w.-]*|[A-Za-z]\w*-[\w.-]+", words)]
    return any(len(word) >= 5 and (own.startswith(word) or word.startswith(own)) for word in found)


LAWS = (means, pooling, whole_questions, below_chance, double_counting, claims_of_better, own_numbers)
