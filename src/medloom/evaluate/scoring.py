"""From answers to scores, and from two models' answers to the same questions to what can be said of their difference."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from .statistics import holm, mcnemar, paired_difference, wilson

DECIMALS = 6  # log-probabilities are kept to so many places: finer than batches make them differ would be noise
LEVEL = 0.05


@dataclass(frozen=True)
class Outcome:
    """How one question was answered, once. `choice` is None where no answer could be read.

    `logprobs` are the options' (natural), None where the mode gives none. `asked` tells apart several askings of one question (the seed of
    its shots, the turn of its options); gold and choice always count the options in the benchmark's own order. `cluster` names what this
    question shares with others.
    """

    id: str
    gold: int
    choice: int | None
    options: int
    tie: bool = False
    logprobs: tuple[float, ...] | None = None
    group: str | None = None
    cluster: str | None = None
    asked: str = ""

    @property
    def right(self) -> bool:
        """Whether the choice is the gold one; an answer that could not be read is wrong."""
        return self.choice == self.gold


@dataclass(frozen=True)
class Score:
    """One model on one benchmark. Shares lie between 0 and 1; `unparsed` and `ties` count questions.

    `chance` is blind guessing, `majority` always giving the most frequent right option number, and the Wilson bounds hold the
    accuracy with 95 % confidence.
    """

    n: int
    correct: int
    accuracy: float
    wilson_low: float
    wilson_high: float
    chance: float
    majority: float
    unparsed: int
    ties: int

    @property
    def verdict(self) -> str:
        """What the interval says about knowing anything, in words."""
        if self.wilson_low > max(self.chance, self.majority):
            return "above chance and above the majority answer"
        if self.wilson_low > self.chance:
            return "above chance, not shown to be above always giving the majority answer"
        if self.wilson_high < self.chance:
            return "below chance: a fixed preference or misread answers, not knowledge"
        return "at chance: no knowledge is shown"

    def figures(self) -> dict[str, Any]:
        """Every field and the verdict, ready for JSON."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Comparison:
    """A model against its base on the same questions; the fields of a summary's `comparisons`.

    `gained` questions only the model answers rightly, `lost` only the base. `low` and `high` are Tango's 95 % interval of
    the paired difference, `p_value` is McNemar's, exact and two-sided, `holm_p` the same adjusted for all comparisons of a table.
    """

    benchmark: str
    mode: str
    model: str
    base: str
    n: int
    chance: float
    majority: float
    accuracy: float
    wilson_low: float
    wilson_high: float
    base_accuracy: float
    difference: float
    low: float
    high: float
    gained: int
    lost: int
    p_value: float
    holm_p: float | None
    unparsed: int
    ties: int

    @property
    def verdict(self) -> str:
        """"better" or "worse" only where the test shows it, at 5 % after adjustment where there is one."""
        p_value = self.p_value if self.holm_p is None else self.holm_p
        if p_value >= LEVEL:
            return "not shown to differ"
        return "better" if self.difference > 0 else "worse"

    def figures(self) -> dict[str, Any]:
        """Every field and the verdict, ready for JSON."""
        return {**asdict(self), "verdict": self.verdict}


def choose(logprobs: Sequence[float]) -> tuple[int, bool]:
    """The option with the largest value and whether another one equals it; of equals the first is taken."""
    best = max(logprobs)
    return list(logprobs).index(best), list(logprobs).count(best) > 1


def read_answers(path: Path) -> list[Outcome]:
    """The outcomes in an answers.jsonl. Raises Refusal, naming the line, for one that is not an answer or repeats an id."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; run the evaluation first") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            raw = json.loads(line)
            values = raw.get("logprobs")
            known = tuple(values) if values and None not in values else None
            outcome = Outcome(str(raw["id"]), int(raw["gold"]), raw["choice"], int(raw["options"]), bool(raw["tie"]), known,
                              raw.get("group"), raw.get("cluster"), raw.get("asked", ""))
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise Refusal(f"{path}, line {number}: not an answer ({type(error).__name__}: {error}); run the evaluation again") from None
        if (outcome.id, outcome.asked) in outcomes:
            raise Refusal(f"{path}, line {number}: answers the question {outcome.id} a second time; run the evaluation again")
        outcomes[outcome.id, outcome.asked] = outcome
    return list(outcomes.values())


def score(answers: Path) -> Score:
    """The score of an answers.jsonl."""
    return score_outcomes(read_answers(answers))


def score_outcomes(outcomes: Sequence[Outcome]) -> Score:
    """The score of some outcomes. Raises Refusal where there are none."""
    if not outcomes:
        raise Refusal("there are no answers to score; a benchmark needs one question at least")
    n, correct = len(outcomes), sum(outcome.right for outcome in outcomes)
    low, high = wilson(correct, n)
    return Score(
        n=n, correct=correct, accuracy=correct / n, wilson_low=low, wilson_high=high,
        chance=math.fsum(1 / outcome.options for outcome in outcomes) / n,
        majority=max(Counter(outcome.gold for outcome in outcomes).values()) / n,
        unparsed=sum(outcome.choice is None for outcome in outcomes), ties=sum(outcome.tie for outcome in outcomes))


def compare(answers: Path, base: Path, *, benchmark: str = "", mode: str = "", model: str = "", base_name: str = "") -> Comparison:
    """Two answers.jsonl on the same questions, the first held against the second.

    Raises Refusal where the questions, or what counts as their right answers, are not the same.
    """
    try:
        return compare_outcomes(read_answers(answers), read_answers(base), benchmark=benchmark, mode=mode, model=model, base_name=base_name)
    except _Unpaired as error:
        raise Refusal(f"{answers} and {base}: {error}; evaluate both on the same questions") from None


def compare_outcomes(ours: Sequence[Outcome], base: Sequence[Outcome], *, benchmark: str = "", mode: str = "", model: str = "",
                     base_name: str = "") -> Comparison:
    """`compare` on outcomes, in any order."""
    others = {outcome.id: outcome for outcome in base}
    different = sorted({outcome.id for outcome in ours} ^ set(others))
    if different:
        raise _Unpaired(f"{len(different)} questions are in one only, such as {different[0]}")
    for outcome in ours:
        if outcome.gold != others[outcome.id].gold:
            raise _Unpaired(f"they hold different answers to {outcome.id} for right")
    mine, theirs = score_outcomes(ours), score_outcomes(base)
    gained = sum(outcome.right and not others[outcome.id].right for outcome in ours)
    lost = sum(others[outcome.id].right and not outcome.right for outcome in ours)
    low, high = paired_difference(gained, lost, mine.n)
    return Comparison(
        benchmark=benchmark, mode=mode, model=model, base=base_name, n=mine.n, chance=mine.chance, majority=mine.majority,
        accuracy=mine.accuracy, wilson_low=mine.wilson_low, wilson_high=mine.wilson_high, base_accuracy=theirs.accuracy,
        difference=(gained - lost) / mine.n, low=low, high=high, gained=gained, lost=lost,
        p_value=mcnemar(gained, lost), holm_p=None, unparsed=mine.unparsed, ties=mine.ties)


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one table, each with its Holm-adjusted p-value."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [replace(comparison, holm_p=p_value) for comparison, p_value in zip(comparisons, adjusted, strict=True)]


class _Unpaired(Refusal):
    pass
