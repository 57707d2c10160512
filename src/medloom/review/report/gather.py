"""The votes of a study put to the statistics, as one plain object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from scipy.special import ndtri

from ..export import records
from ..raters import standing
from ..store import Store
from ..study import Study
from .agreement import Level, alpha, interval
from .bradley_terry import Game, strengths
from .shares import share

Record = Mapping[str, Any]


def gather(store: Store) -> dict[str, Any]:
    """All that the report says, ready for JSON:

    `title`, `models`, `raters` (their standing), `questions`, `votes`, `votes_to_come`; `contests`, for every two models how often the
    first was preferred, ties as half, and whether that is `clear`; `strengths` (Bradley and Terry's, None where the votes have no finite
    answer); `axes`, for each model how often each option was chosen and the mean place on the scale, as a share; `unsafe`; `agreement`
    (Krippendorff's alpha); `sides`, how often answer A was preferred, which blind and balanced sides make about half; `seconds`, the
    median of a vote.
    """
    study, votes, raters = store.study, list(records(store)), standing(store)
    models = [one.name for one in study.models]
    games = [Game(models.index(one), models.index(other), value, vote["question_id"])
             for vote in votes for one, other, value in [(vote["model_a"], vote["model_b"], _won(vote, vote["model_a"]))]]
    found = strengths(games, len(models))
    times = [vote["seconds"] for vote in votes if vote["seconds"] is not None]
    return {
        "title": study.title, "models": models, "raters": raters, "questions": len({vote["question_id"] for vote in votes}),
        "votes": len(votes), "votes_to_come": sum(row["total"] - row["done"] for row in raters),
        "contests": [_contest(pair, votes, len(study.contests)) for pair in study.contests],
        "strengths": None if found is None else sorted(
            ({"model": name, **asdict(one)} for name, one in zip(models, found, strict=True)), key=lambda row: -row["value"]),
        "axes": [_axis(study, axis.key, models, votes) for axis in study.axes],
        "unsafe": [{"model": name, **_share([float(vote[f"unsafe_{side}"]) for vote, side in _sides(name, votes)],
                                            [vote["question_id"] for vote, _ in _sides(name, votes)])} for name in models],
        "agreement": _agreement(study, votes),
        "sides": _share([_won(vote, vote["model_a"]) for vote in votes], [vote["question_id"] for vote in votes]),
        "seconds": median(times) if times else None,
    }


def _won(vote: Record, model: str) -> float:
    """1 where a model was preferred, 0 where the other was, else 0.5."""
    return 0.5 if vote["preferred"] is None else float(vote["preferred"] == model)


def _contest(pair: tuple[str, str], votes: Sequence[Record], contests: int) -> dict[str, Any]:
    own = [vote for vote in votes if {vote["model_a"], vote["model_b"]} == set(pair)]
    won = [_won(vote, pair[0]) for vote in own]
    # Of many contests some would look clear by chance; Bonferroni's intervals hold for all of them together.
    strict = share(won, [vote["question_id"] for vote in own], float(-ndtri(0.025 / contests)))
    clear = strict is not None and not strict.low <= 0.5 <= strict.high
    return {"first": pair[0], "second": pair[1], "wins": won.count(1.0), "ties": won.count(0.5), "losses": won.count(0.0),
            "clear": clear, **_share(won, [vote["question_id"] for vote in own])}


def _axis(study: Study, key: str, models: Sequence[str], votes: Sequence[Record]) -> dict[str, Any]:
    axis = next(one for one in study.axes if one.key == key)
    top, rows = len(axis.options) - 1, []
    for name in models:
        given = [(vote[f"{key}_{side}"], vote["question_id"]) for vote, side in _sides(name, votes)]
        scores = [(score, question) for score, question in given if score is not None]
        rows.append({"model": name, "counts": [sum(score == place for score, _ in scores) for place in range(top + 1)],
                     "cannot_tell": len(given) - len(scores),
                     **_share([score / top for score, _ in scores], [question for _, question in scores])})
    return {"key": key, "title": axis.title, "question": axis.question, "options": list(axis.options), "models": rows}


def _sides(model: str, votes: Sequence[Record]) -> list[tuple[Record, str]]:
    """The votes on a model's answers, each with the side on which it stood."""
    return [(vote, side) for vote in votes for side in "ab" if vote[f"model_{side}"] == model]


def _share(values: Sequence[float], clusters: Sequence[str]) -> dict[str, Any]:
    found = share(values, clusters)
    return {"share": None, "low": None, "high": None, "n": 0} if found is None else \
        {"share": found.value, "low": found.low, "high": found.high, "n": found.n}


def _agreement(study: Study, votes: Sequence[Record]) -> list[dict[str, Any]]:
    """Alpha of the preference, of being unsafe and of each axis. A unit is a pair, and an answer within its pair for the last two."""
    def answers(field: str) -> list[list[int]]:
        return _units(votes, lambda vote: [((vote[f"model_{side}"],), vote[f"{field}_{side}"]) for side in "ab"])

    def preference(vote: Record) -> list[tuple[tuple[str, ...], int | None]]:
        first = min(vote["model_a"], vote["model_b"])
        return [((), round(2 * _won(vote, first)))]

    rows: list[tuple[str, str, list[list[int]], Level]] = [
        ("preference", "Which is better", _units(votes, preference), "ordinal"), ("unsafe", "Unsafe", answers("unsafe"), "nominal"),
        *((axis.key, axis.title, answers(axis.key), "ordinal") for axis in study.axes)]
    found = []
    for key, title, units, level in rows:
        reach = interval(units, level)
        found.append({"key": key, "title": title, "level": level, "units": sum(len(unit) > 1 for unit in units),
                      "same": _same(units), "alpha": alpha(units, level), "low": reach and reach[0], "high": reach and reach[1]})
    return found


def _units(votes: Sequence[Record], values: Callable[[Record], list[tuple[tuple[str, ...], int | None]]]) -> list[list[int]]:
    units: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for vote in votes:
        pair = (vote["question_id"], *sorted((vote["model_a"], vote["model_b"])))
        for key, value in values(vote):
            if value is not None:
                units[*pair, *key].append(int(value))
    return list(units.values())


def _same(units: Sequence[Sequence[int]]) -> float | None:
    """The share of the pairs of raters who said the same of the same."""
    pairs = [one == other for unit in units for place, one in enumerate(unit) for other in unit[place + 1:]]
    return sum(pairs) / len(pairs) if pairs else None
