"""The tables of the report, which page and Markdown share, and how its numbers are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..benchmarks import LETTERS
from .gather import Asked, Gathered, Result, Row, words

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Table:
    """Every cell is a text; the columns in `texts` are prose, the others numbers. Rows with the same first `shared` cells form a group."""

    key: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[int, ...] = (0,)
    note: str = ""
    shared: int = 1


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one in percent."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


def between(low: float, high: float) -> str:
    """An interval of shares, in percent."""
    return f"{100 * low:.1f} to {100 * high:.1f}"


def points(difference: float) -> str:
    """A difference of shares in percentage points, with its sign."""
    return signed(100 * difference, 1)


def signed(value: float, digits: int) -> str:
    """A number with its sign; nothing has none."""
    text = f"{abs(value):.{digits}f}"
    return text if float(text) == 0 else ("+" if value > 0 else MINUS) + text


def apart(row: Row) -> str:
    """A difference with its interval, in percentage points."""
    return f"{points(row['difference'])} ({points(row['low'])} to {points(row['high'])})"


def p_value(value: float | None) -> str:
    """A p-value to two places, and no finer than one can believe."""
    if value is None:
        return DASH
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def number(count: int, name: str) -> str:
    """A count with its noun: 1 question, 1,273 questions."""
    return f"{count:,} {name if count == 1 else name + 's'}"


def how(asked: Asked) -> str:
    """How a benchmark was asked, in words."""
    told = asked.mode.replace("-", " ") + (f", {number(asked.shots, 'shot')}" if asked.shots else ", no shots")
    return told + (f", {len(asked.seeds)} seeds" if len(asked.seeds) > 1 else "")


def tables(gathered: Gathered) -> Iterator[Table]:
    """All tables, each only where it has rows; those of the published figures stand in `published`."""
    made = [_scores(gathered), _differences(gathered), _calibration(gathered), _subjects(gathered), _forgetting(gathered),
            _letters(gathered), _askings(gathered), _contamination(gathered), _integrity(gathered)]
    yield from (table for table in made if table.rows)


def _scores(gathered: Gathered) -> Table:
    rows = []
    for result in gathered.results:
        score = result.score
        rows.append((result.asked.name, how(result.asked), f"{score.n:,}", percent(score.chance), percent(score.majority), result.model,
                     percent(score.accuracy), between(score.low, score.high),
                     f"{score.unparsed:,}" + (f" ({percent(score.unparsed_rate)})" if score.unparsed else ""), f"{score.ties:,}",
                     score.verdict))
    return Table("scores", ("benchmark", "asked", "n", "chance", "majority", "model", "accuracy", "95 % interval", "unparsed", "ties",
                            "which shows"), tuple(rows), (0, 1, 5, 10),
                 "n counts questions. Chance is blind guessing, majority always giving the option that is most often right. An answer that "
                 "could not be read counts as wrong. The interval is Wilson's, or that of drawing whole clusters again where questions "
                 "hang together or are asked several times.", shared=5)


def _differences(gathered: Gathered) -> Table:
    rows = [(row["benchmark"], row["base"], f"{row['n']:,}", row["model"],
             f"{100 * row['base_accuracy']:.1f} → {100 * row['accuracy']:.1f}", apart(row), words(row),
             f"{row['gained']:,} / {row['lost']:,}", p_value(row["p_value"]), p_value(row.get("holm_p")),
             f"{100 * row['detectable']:.1f}" if row.get("detectable") is not None else DASH)
            for row in gathered.comparisons]
    return Table("differences", ("benchmark", "against", "n", "model", "accuracy, %", "difference, points (95 % interval)", "in words",
                                 "gained / lost", "p", "Holm p", "detectable"), tuple(rows), (0, 1, 3, 6),
                 "The same questions, paired. Gained answers are right from the model alone, lost ones from the other alone. Holm p is the "
                 "p-value after correction for all rows here, and the words rest on it alone, at 5 %. Detectable is the true difference "
                 "in points that questions like these find four times in five. Not shown to differ is not the same as equal. "
                 f"{DASH}: the two never answered differently.", shared=3)


def _calibration(gathered: Gathered) -> Table:
    rows = [(result.asked.name, result.model, f"{found.n:,}", percent(found.confidence), percent(found.accuracy), percent(found.ece),
             percent(found.adaptive_ece), f"{found.brier:.3f}", percent(found.accuracy_at["50%"]), f"{found.aurc:.3f}")
            for result in gathered.results if (found := result.calibration)]
    return Table("calibration", ("benchmark", "model", "answers", "confidence", "accuracy", "ECE", "adaptive ECE", "Brier",
                                 "accuracy on the surest half", "AURC"), tuple(rows), (0, 1),
                 "ECE is the mean distance of confidence and accuracy over 15 bins of equal width, adaptive ECE over 15 bins of equally "
                 "many answers. Brier sums squared distances over all options; 0 is perfect. AURC is the mean risk at all coverages.")


def _subjects(gathered: Gathered) -> Table:
    rows = [(result.asked.name, group, f"{found['n']:,.0f}", result.model, percent(found["accuracy"]), between(found["low"], found["high"]))
            for asked in gathered.benchmarks for group in groups(gathered.of(asked)) for result in gathered.of(asked)
            if (found := result.score.groups.get(group))]
    return Table("subjects", ("benchmark", "subject", "n", "model", "accuracy", "95 % interval"), tuple(rows), (0, 1, 3))


def groups(results: Sequence[Result]) -> list[str]:
    """The groups of a benchmark's questions, in the order of their names."""
    return sorted({group for result in results for group in result.score.groups})


def _forgetting(gathered: Gathered) -> Table:
    rows: list[tuple[str, ...]] = []
    for domain in domains(gathered):
        known = [(model, found[domain]) for model, found in gathered.heldout.items() if domain in found]
        known.sort(key=lambda pair: gathered.models.index(pair[0]))
        start = known[0][1]["bits_per_byte"]
        rows += [(f"held-out text, {domain}", model, f"{found['documents']:,} documents", f"{found['bits_per_byte']:.3f} bits per byte",
                  signed(found["bits_per_byte"] - start, 3) if place else "") for place, (model, found) in enumerate(known)]
    for asked in gathered.benchmarks:
        if asked.general:
            results = gathered.of(asked)
            rows += [(asked.name, result.model, number(result.score.n, "question"),
                      f"{percent(result.score.accuracy)} ({between(result.score.low, result.score.high)})",
                      points(result.score.accuracy - results[0].score.accuracy) if place else "")
                     for place, result in enumerate(results)]
    return Table("forgetting", ("measured on", "model", "of", "value", "change"), tuple(rows), (0, 1),
                 "Fewer bits per byte are better, a higher accuracy is better. Whether a change of accuracy is more than chance stands "
                 "among the differences above; bits per byte come without a test.")


def domains(gathered: Gathered) -> list[str]:
    """The domains of held-out text."""
    return sorted({domain for found in gathered.heldout.values() for domain in found})


def letter(option: str) -> str:
    """What an option is called in the report, whether or not it was listed under a letter: A is the first."""
    return LETTERS[int(option)] if int(option) < len(LETTERS) else option


def _letters(gathered: Gathered) -> Table:
    rows = []
    for result in gathered.results:
        score = result.score
        chosen, golds = (", ".join(f"{letter(option)} {count:,}" for option, count in counts.items())
                         for counts in (score.chosen, score.golds))
        alike = DASH if score.position_p is None else p_value(score.position_p)
        rows.append((result.asked.name, result.model, chosen or DASH, golds or DASH, alike))
    return Table("letters", ("benchmark", "model", "chosen", "right", "p"), tuple(rows), (0, 1, 2, 3),
                 "How often each place was chosen and was right, where an answer was read. p is that of both being alike (Stuart and "
                 "Maxwell), for each row by itself: a small one is a sign of preferring places to contents.")


def _askings(gathered: Gathered) -> Table:
    rows = [(result.asked.name, result.model, ", ".join(f"{name or 'first'} {percent(share)}" for name, share in score.by_asking.items()),
             f"{100 * (score.spread or 0):.1f}", percent(score.agreement))
            for result in gathered.results if (score := result.score).by_asking]
    return Table("askings", ("benchmark", "model", "accuracy of each asking", "spread, points", "same choice in all"), tuple(rows),
                 (0, 1, 2), "Spread is the standard deviation over the askings: what the drawing of the shots, or the turning of the "
                 "options, moves by itself.")


def parts(result: Result) -> Iterator[tuple[str, Row]]:
    """The clean, contaminated and untested questions' scores, where the run tells them apart."""
    found: Any = result.figures.get("contamination")
    for name in ("clean", "contaminated", "untested"):
        if found and found.get(name):
            yield name, found[name]


def _contamination(gathered: Gathered) -> Table:
    rows = []
    for result in gathered.results:
        gain = (result.figures.get("contamination") or {}).get("gain")
        rows += [(result.asked.name, result.model, name, f"{part['n']:,}", percent(part["accuracy"]), between(part["low"], part["high"]),
                  points(gain) if gain is not None and name == "clean" else "") for name, part in parts(result)]
    return Table("contamination", ("benchmark", "model", "questions", "n", "accuracy", "95 % interval", "all less clean, points"),
                 tuple(rows), (0, 1, 2), "Contaminated questions are those of whose own word sequences the model read most in training.")


def _integrity(gathered: Gathered) -> Table:
    found: dict[tuple[str, str], list[str]] = {}
    for result in gathered.results:
        found.setdefault((result.asked.name, " ".join(integrity(result))), []).append(result.model)
    rows = tuple((name, ", ".join(models), told) for (name, told), models in found.items())
    return Table("integrity", ("benchmark", "asked of", "what happened to the questions"), rows, (0, 1, 2))


def integrity(result: Result) -> Iterator[str]:
    """What befell a benchmark's questions, a sentence each."""
    figures, score = result.figures, result.score
    told = figures.get("integrity") or {}
    release = told.get("release")
    yield f"The published release: {release}." if release else "Not a release that is known by its digest."
    available = figures.get("available", score.n)
    if available > score.n:
        yield f"{score.n:,} of {available:,} questions were asked, by the recipe's limit."
    unasked = figures.get("unasked") or []
    yield (f"Not asked, since too long for the model, and counted as wrong: {number(len(unasked), 'question')}."
           if unasked else "Every question fitted the model.")
    if figures.get("shortened"):
        yield (f"{number(figures['shortened'], 'prompt')} had to be shortened, by {number(figures['sentences_dropped'], 'sentence')} "
               "in all.")
    for key, what in (("duplicate_questions", "asked more than once"), ("duplicate_options", "with two equal options"),
                      ("ambiguous_gold", "whose right option occurs twice")):
        if told.get(key):
            yield f"{number(told[key], 'question')} {what}."
    if figures.get("defects"):
        yield f"Asked by Meditron's own protocol, with its known defects: {', '.join(figures['defects'])}."
    if not result.agrees:
        yield f"The record says an accuracy of {percent(figures['accuracy'])}, and the answers give {percent(score.accuracy)}."
