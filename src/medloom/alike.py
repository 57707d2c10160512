"""Whether two runs' figures are alike: identical, equivalent within a tolerance, or different."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .ledger import Refusal
from .ledger.show import is_cost

Verdict = Literal["identical", "equivalent", "different"]
ABSENT = "absent"
HOW = ("threads", "device", "precision", "layout")  # stand among figures, and say how a step was run
NUMBERS = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?")


@dataclass(frozen=True)
class Tolerance:
    """Within what figures count as equivalent.

    `accuracy` is a share of all questions: the 95 % interval of the paired difference must lie within it on both sides, which is two
    one-sided tests at 2.5 % (Schuirmann 1987, J Pharmacokinet Biopharm 15:657). `relative` holds for numbers that no answers lie behind,
    and numbers smaller than `zero` count as none.
    """

    accuracy: float = 0.01
    relative: float = 0.01
    zero: float = 1e-6


@dataclass(frozen=True)
class Answers:
    """A model's answers to a benchmark in both runs, the second less the first. Accuracies are shares of one."""

    model: str
    benchmark: str
    n: int | None
    then: float | None
    now: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Figure:
    """One figure in both runs: `name` is its step and its path in the step's record."""

    name: str
    then: Any
    now: Any
    verdict: Verdict

    def figures(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The worst of some verdicts; identical where there is none."""
    return max(verdicts, key=("identical", "equivalent", "different").index, default="identical")


def hold_answers(then: Path, now: Path, model: str, benchmark: str, tolerance: Tolerance) -> Answers:
    """Two runs' answers.jsonl of the same model and benchmark."""
    from .evaluate import compare, read_answers

    try:
        found = compare(now, then)
    except Refusal as error:
        return Answers(model, benchmark, None, None, None, None, None, None, "different", str(error))
    chosen = [{(outcome.id, outcome.asked): outcome.choice for outcome in read_answers(path)} for path in (then, now)]
    changed = sum(choice != chosen[1][question] for question, choice in chosen[0].items())
    within = -tolerance.accuracy <= found.low and found.high <= tolerance.accuracy
    why = f"{changed} of {len(chosen[0])} answers changed" if changed else "every answer is the same"
    if changed and not within:
        beyond = found.low > tolerance.accuracy or found.high < -tolerance.accuracy
        why += ", and the accuracy by more than the tolerance" if beyond else ", of too few questions to show it within the tolerance"
    return Answers(model, benchmark, found.n, found.base_accuracy, found.accuracy, found.difference, found.low, found.high,
                   "different" if changed and not within else "equivalent" if changed else "identical", why)


def hold_figures(step: str, then: Mapping[str, Any], now: Mapping[str, Any], answers: Sequence[Answers], tolerance: Tolerance
                 ) -> Iterator[Figure]:
    """Each figure of a step's two records. `answers` are those that the step's figures follow from; none where they do not."""
    theirs, ours = dict(_leaves(then)), dict(_leaves(now))
    for path in {**theirs, **ours}:
        (before, about), (after, _) = theirs.get(path, (ABSENT, {})), ours.get(path, (ABSENT, {}))
        behind = [each.verdict for each in answers if _is_about(about, each)]
        yield Figure(f"{step}:{'/'.join(path)}", before, after, _judge(before, after, worst(behind), tolerance))


def _judge(then: Any, now: Any, behind: Verdict, tolerance: Tolerance) -> Verdict:
    """Where answers behind a number changed, it is what their test says; words must stay, but for the numbers in them."""
    if type(then) is type(now) and then == now:
        return "identical"
    if _is_number(then) and _is_number(now):
        if behind != "identical":
            return behind
        return "equivalent" if math.isclose(then, now, rel_tol=tolerance.relative, abs_tol=tolerance.zero) else "different"
    if isinstance(then, str) and isinstance(now, str) and ABSENT not in (then, now) and NUMBERS.sub("#", then) == NUMBERS.sub("#", now):
        return "equivalent"
    return "different"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _leaves(value: Any, path: tuple[str, ...] = (), about: Mapping[str, Any] | None = None
            ) -> Iterator[tuple[tuple[str, ...], tuple[Any, Mapping[str, Any]]]]:
    """Single values by their path, each with what the rows around it say they are about. Costs, digests and HOW are left out."""
    about = about or {}
    if isinstance(value, Mapping):
        about = {**about, **{key: value[key] for key in ("model", "base", "type", "benchmark") if isinstance(value.get(key), str)}}
        for key, each in value.items():
            if not is_cost(key) and not key.endswith(("sha256", "digest")) and key not in HOW:
                yield from _leaves(each, (*path, key), about)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _leaves(each, (*path, str(number)), about)
    else:
        yield path, (value, about)


def _is_about(about: Mapping[str, Any], answers: Answers) -> bool:
    """Whether a row's figures may follow from these answers; what the row does not say may be anything."""
    models = {about[key] for key in ("model", "base") if key in about}
    return about.get("benchmark", answers.benchmark) == answers.benchmark and (not models or answers.model in models)
