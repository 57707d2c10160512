"""From answers to scores, and from two models' answers to the same questions to what can be said of their difference."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import stdev
from typing import Any, Literal

from ...ledger import Refusal
from ...numbers import wilson
from ..statistics import (
    Clusters,
    bootstrap,
    clustered_error,
    detectable,
    gather,
    holm,
    margins_differ,
    mcnemar,
    paired_difference,
    sign_flip,
)

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
    """One model on one benchmark. Shares lie between 0 and 1.

    `n` counts questions, each asked once or up to `askings` times. `accuracy` is the mean over the questions of how often each was
    answered rightly; `correct`, `unparsed` (`unparsed_rate` of all) and `ties` count answers. `chance` is blind guessing, `majority` always
    giving the most frequent right option number.

    The Wilson bounds hold the accuracy with 95 % confidence were every question independent. `low` and `high` are the same where that is
    so, and else, where questions share one of `clusters` or are asked several times, the interval from drawing whole clusters again;
    `standard_error` is the clustered one. That is the error of having asked these questions and not others. What the asking itself moves
    stands apart: `by_asking` holds the accuracy of each, `spread` their standard deviation, `agreement` the share of questions whose choice
    is the same in all.

    `groups` holds n, accuracy, low and high of each group of questions. `chosen` and `golds` count how often, in the first asking, each
    option number was chosen and was right where an answer was read; `position_p` is the chi-square p-value of the two being alike: a
    small one is a sign of preferring places to contents.
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
    unparsed_rate: float
    askings: int
    clusters: int
    standard_error: float | None
    low: float
    high: float
    by_asking: dict[str, float]
    spread: float | None
    agreement: float | None
    groups: dict[str, dict[str, float]]
    chosen: dict[str, int]
    golds: dict[str, int]
    position_p: float | None

    @property
    def verdict(self) -> str:
        """What the interval says about knowing anything, in words."""
        if self.low > max(self.chance, self.majority):
            return "above chance and above the majority answer"
        if self.low > self.chance:
            return "above chance, not shown to be above always giving the majority answer"
        if self.high < self.chance:
            return "below chance: a fixed preference or misread answers, not knowledge"
        return "at chance: no knowledge is shown"

    def figures(self) -> dict[str, Any]:
        """Every field and the verdict, ready for JSON."""
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Comparison:
    """A model against its base on the same questions; the fields of a summary's `comparisons`.

    `gained` answers are right from the model alone, `lost` from the base alone. Where every question stands alone and is asked once,
    `low` and `high` are Tango's 95 % interval of the paired difference and `p_value` is McNemar's, exact and two-sided; else they are the
    wider of that interval and the bootstrap's over clusters, and the p of flipping the signs of whole clusters (`test` says which).
    `holm_p` is adjusted for all comparisons of a table. `bootstrap_low` and `bootstrap_high` are always the bootstrap's (10,000 draws, a
    fixed seed). `detectable` is the true difference that questions like these find four times in five; None where the models never
    differ. `accuracy_low` and `accuracy_high` are the model's own interval (`Score.low`, `Score.high`).
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
    askings: int
    clusters: int
    standard_error: float | None
    bootstrap_low: float
    bootstrap_high: float
    test: Literal["McNemar", "sign-flip"]
    detectable: float | None
    accuracy_low: float
    accuracy_high: float
    base_unparsed: int

    @property
    def verdict(self) -> str:
        """See `in_words`."""
        return in_words(self.difference, self.p_value, self.holm_p)

    def figures(self) -> dict[str, Any]:
        """Every field and the verdict, ready for JSON."""
        return {**asdict(self), "verdict": self.verdict}


def in_words(difference: float, p_value: float, holm_p: float | None) -> str:
    """"better" or "worse" only where the test shows it, at 5 % after adjustment where there is one."""
    if (p_value if holm_p is None else holm_p) >= LEVEL:
        return "not shown to differ"
    return "better" if difference > 0 else "worse"


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
    questions = _by(outcomes, lambda outcome: outcome.id)
    askings = _by(outcomes, lambda outcome: outcome.asked)
    by_asking = {asked: sum(outcome.right for outcome in members) / len(members) for asked, members in askings.items()}
    answers, clusters = len(outcomes), _clusters(outcomes)
    low, high = _interval(clusters, answers)
    wilson_low, wilson_high = wilson(float(clusters.sums.sum()), len(questions))
    groups = _by([outcome for outcome in outcomes if outcome.group is not None], lambda outcome: str(outcome.group))
    read = [(outcome.choice, outcome.gold) for outcome in next(iter(askings.values())) if outcome.choice is not None]
    unparsed = sum(outcome.choice is None for outcome in outcomes)
    several = len(askings) > 1
    return Score(
        n=len(questions), correct=sum(outcome.right for outcome in outcomes), accuracy=clusters.mean,
        wilson_low=wilson_low, wilson_high=wilson_high,
        chance=math.fsum(1 / outcome.options for outcome in outcomes) / answers,
        majority=max(Counter(outcome.gold for outcome in outcomes).values()) / answers,
        unparsed=unparsed, ties=sum(outcome.tie for outcome in outcomes), unparsed_rate=unparsed / answers,
        askings=len(askings), clusters=len(clusters.sums), standard_error=clustered_error(clusters), low=low, high=high,
        by_asking=by_asking if several else {}, spread=stdev(by_asking.values()) if several else None,
        agreement=sum(len({outcome.choice for outcome in members}) == 1 for members in questions.values()) / len(questions)
        if several else None,
        groups={name: _group(members) for name, members in sorted(groups.items())},
        chosen=_histogram(choice for choice, _ in read), golds=_histogram(gold for _, gold in read),
        position_p=margins_differ([choice for choice, _ in read], [gold for _, gold in read]))


def _by(outcomes: Iterable[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault(key(outcome), []).append(outcome)
    return found


def _cluster(outcome: Outcome) -> tuple[str, str]:
    return ("alone", outcome.id) if outcome.cluster is None else ("cluster", outcome.cluster)


def _clusters(outcomes: Sequence[Outcome]) -> Clusters:
    """The questions' shares of right answers, in their clusters."""
    questions = _by(outcomes, lambda outcome: outcome.id).values()
    return gather([sum(outcome.right for outcome in members) / len(members) for members in questions],
                  [_cluster(members[0]) for members in questions])


def _stand_alone(clusters: Clusters, answers: int) -> bool:
    """Whether each of so many answers is independent of every other."""
    return len(clusters.sums) == answers


def _interval(clusters: Clusters, answers: int) -> tuple[float, float]:
    """Wilson's interval, or the bootstrap's over clusters where answers hang together.

    Clusters that are all alike give a bootstrap nothing to vary: they then count as so many independent questions.
    """
    if _stand_alone(clusters, answers):
        return wilson(float(clusters.sums.sum()), answers)
    return wilson(clusters.mean * len(clusters.sums), len(clusters.sums)) if clusters.alike else bootstrap(clusters)


def _group(outcomes: Sequence[Outcome]) -> dict[str, float]:
    clusters = _clusters(outcomes)
    low, high = _interval(clusters, len(outcomes))
    return {"n": int(clusters.sizes.sum()), "accuracy": clusters.mean, "low": low, "high": high}


def _histogram(numbers: Iterable[int]) -> dict[str, int]:
    return {str(number): count for number, count in sorted(Counter(numbers).items())}


def compare(answers: Path, base: Path, *, benchmark: str = "", mode: str = "", model: str = "", base_name: str = "") -> Comparison:
    """Two answers.jsonl on the same questions, the first held against the second.

    Raises Refusal where the questions, or what counts as their right answers, are not the same.
    """
    try:
        return compare_outcomes(read_answers(answers), read_answers(base), benchmark=benchmark, mode=mode, model=model, base_name=base_name)
    except Unpaired as error:
        raise Refusal(f"{answers} and {base}: {error}; evaluate both on the same questions") from None


def compare_outcomes(ours: Sequence[Outcome], base: Sequence[Outcome], *, benchmark: str = "", mode: str = "", model: str = "",
                     base_name: str = "") -> Comparison:
    """`compare` on outcomes, in any order."""
    others = {(outcome.id, outcome.asked): outcome for outcome in base}
    different = sorted({(outcome.id, outcome.asked) for outcome in ours} ^ set(others))
    if different:
        raise Unpaired(f"{len(different)} questions are in one only, such as {' '.join(different[0]).strip()}")
    for outcome in ours:
        if outcome.gold != others[outcome.id, outcome.asked].gold:
            raise Unpaired(f"they hold different answers to {outcome.id} for right")
    mine, theirs = score_outcomes(ours), score_outcomes(base)
    differences = _differences(ours, others)
    exact = list(differences.values())
    names = {outcome.id: _cluster(outcome) for outcome in ours}
    clusters = gather([float(difference) for difference in exact], [names[question] for question in differences])
    gained = sum(outcome.right and not others[outcome.id, outcome.asked].right for outcome in ours)
    lost = sum(others[outcome.id, outcome.asked].right and not outcome.right for outcome in ours)
    bootstrap_low, bootstrap_high = bootstrap(clusters)
    alone = _stand_alone(clusters, len(ours))
    low, high = paired_difference(sum(max(difference, 0.0) for difference in map(float, exact)),
                                  sum(max(-difference, 0.0) for difference in map(float, exact)), mine.n)
    if not alone and clusters.alike:  # as in `_interval`
        count = len(clusters.sums)
        low, high = paired_difference(max(clusters.mean, 0) * count, max(-clusters.mean, 0) * count, count)
    elif not alone:  # of a loss that no cluster has by chance the bootstrap knows nothing, of clusters Tango's interval does not
        low, high = min(low, bootstrap_low), max(high, bootstrap_high)
    sums: dict[tuple[str, str], Fraction] = {}
    for question, difference in differences.items():
        sums[names[question]] = sums.get(names[question], Fraction(0)) + difference
    return Comparison(
        benchmark=benchmark, mode=mode, model=model, base=base_name, n=mine.n, chance=mine.chance, majority=mine.majority,
        accuracy=mine.accuracy, wilson_low=mine.wilson_low, wilson_high=mine.wilson_high, base_accuracy=theirs.accuracy,
        difference=float(sum(exact, Fraction(0)) / len(exact)), low=low, high=high, gained=gained, lost=lost,
        p_value=mcnemar(gained, lost) if alone else sign_flip(list(sums.values())), holm_p=None,
        unparsed=mine.unparsed, ties=mine.ties, askings=mine.askings, clusters=mine.clusters,
        standard_error=clustered_error(clusters), bootstrap_low=bootstrap_low, bootstrap_high=bootstrap_high,
        test="McNemar" if alone else "sign-flip",
        detectable=detectable(float((clusters.sums**2).sum()), mine.n) if gained or lost else None,
        accuracy_low=mine.low, accuracy_high=mine.high, base_unparsed=theirs.unparsed)


def compare_benchmarks(pairs: Mapping[str, tuple[Path, Path]]) -> list[Comparison]:
    """`compare` of the answers.jsonl of each benchmark, and last of all their questions together, each question counting once."""
    each = [compare(ours, base, benchmark=name) for name, (ours, base) in pairs.items()]
    ours, base = ([_within(name, outcome) for name, files in pairs.items() for outcome in read_answers(files[side])] for side in (0, 1))
    return [*each, compare_outcomes(ours, base, benchmark="all")]


def _within(benchmark: str, outcome: Outcome) -> Outcome:
    """The outcome under names that no other benchmark has."""
    cluster = None if outcome.cluster is None else f"{benchmark}/{outcome.cluster}"
    return replace(outcome, id=f"{benchmark}/{outcome.id}", cluster=cluster)


def _differences(ours: Sequence[Outcome], others: Mapping[tuple[str, str], Outcome]) -> dict[str, Fraction]:
    """For each question by how much more often, of its askings, it was answered rightly than by the other."""
    return {question: Fraction(sum(outcome.right - others[outcome.id, outcome.asked].right for outcome in members), len(members))
            for question, members in _by(ours, lambda outcome: outcome.id).items()}


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one table, each with its Holm-adjusted p-value."""
    adjusted = holm([comparison.p_value for comparison in comparisons])
    return [replace(comparison, holm_p=p_value) for comparison, p_value in zip(comparisons, adjusted, strict=True)]


class Unpaired(Refusal):
    """Two sets of answers that are not to the same questions; the message names neither."""
