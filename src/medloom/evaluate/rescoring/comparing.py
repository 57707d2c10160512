"""Two models' answers held against each other, whoever wrote them down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ..scores import Outcome, adjust, compare_outcomes
from .foreign import Answered, read_side

KINDS = ("id", "doc_hash", "doc_id")  # names that a question may be paired by, the surest first
LEAST = 2
NAMED = 5  # unpaired questions that are named


def compare_files(a: Path | str, b: Path | str, *, metric: str | None = None) -> dict[str, Any]:
    """The first side's answers against the second's, benchmark by benchmark, with Holm's correction over them all.

    A side is an answers.jsonl, a run folder (`RUN@MODEL` where it asked several models), a samples file of lm-eval, or a folder of those.
    Benchmarks pair by name; where each side has one task only, those two pair, filter by filter. Questions pair by the surest name that
    both have: their own id, lm-eval's hash of the document, or their row in the dataset. Those that one side alone answered are counted
    and left out. `metric` names lm-eval's metric that tells right from wrong; without it acc, exact_match or acc_norm.

    Raises Refusal where nothing pairs, fewer than two questions of a benchmark do, or the sides hold different answers for right.
    """
    ours, base = read_side(Path(a), metric), read_side(Path(b), metric)
    pairs = _benchmarks(ours, base)
    if not pairs:
        raise Refusal(f"{a} and {b}: no benchmark is in both; one has {', '.join(ours)}, the other {', '.join(base)}")
    compared, notes = [], []
    for mine, theirs in pairs:
        kind, left, right = _paired(ours[mine], base[theirs], f"{a} ({mine}) and {b} ({theirs})")
        outcomes = [replace(answer.outcome, id=answer.keys[kind]) for answer in left]
        others = [_like(outcome, other.outcome) for outcome, other in zip(outcomes, right, strict=True)]
        compared.append(compare_outcomes(outcomes, others, benchmark=mine if mine == theirs else f"{mine} | {theirs}",
                                         model=str(a), base_name=str(b)))
        notes.append({"paired_by": kind, **_left_out("a", ours[mine], left), **_left_out("b", base[theirs], right)})
    return {
        "a": str(a), "b": str(b),
        "benchmarks": [{**row.figures(), **note} for row, note in zip(adjust(compared), notes, strict=True)],
        "only_a": [name for name in ours if name not in {mine for mine, _ in pairs}],
        "only_b": [name for name in base if name not in {theirs for _, theirs in pairs}],
    }


def _benchmarks(ours: Iterable[str], base: Iterable[str]) -> list[tuple[str, str]]:
    """The names that belong together; what follows a comma is lm-eval's filter."""
    alone = len({name.partition(",")[0] for name in ours}) == len({name.partition(",")[0] for name in base}) == 1
    return [(mine, theirs) for mine in ours for theirs in base
            if mine == theirs or (alone and mine.partition(",")[2] == theirs.partition(",")[2])]


def _paired(ours: Sequence[Answered], base: Sequence[Answered], where: str) -> tuple[str, list[Answered], list[Answered]]:
    """The kind of name they pair by, and the answers to the questions that both have, in the first's order."""
    most = 0
    for kind in KINDS:
        mine, theirs = _by(kind, ours), _by(kind, base)
        both = [key for key in mine if key in theirs]
        most = max(most, len(both))
        if len(both) >= LEAST:
            break
    else:
        raise Refusal(f"{where}: {most} questions pair by {', '.join(KINDS)}, and a comparison needs {LEAST}; compare answers to the same "
                      "questions, asked in the same way")
    left, right = [mine[key] for key in both], [theirs[key] for key in both]
    different = [(answer, other) for answer, other in zip(left, right, strict=True) if _golds_differ(answer, other)]
    if different:
        answer, other = different[0]
        raise Refusal(f"{where}: paired by {kind}, {len(different)} of {len(both)} questions hold different answers for right, such as "
                      f"{answer.keys[kind]} ({_gold(answer)} and {_gold(other)}); compare answers to the same questions")
    if kind == "doc_id" and all(_unknown(answer, other) for answer, other in zip(left, right, strict=True)):
        raise Refusal(f"{where}: only their rows pair the questions, and neither tells enough of the right answers to know that they are "
                      "the same; compare files that hold ids or hashes")
    return kind, left, right


def _like(outcome: Outcome, other: Outcome) -> Outcome:
    """The other's answer to the same question in the first one's numbers: right stays right, and unread unread."""
    choice = outcome.gold if other.right else None if other.choice is None else (outcome.gold + 1) % outcome.options
    return replace(other, id=outcome.id, gold=outcome.gold, options=outcome.options, choice=choice)


def _by(kind: str, answers: Sequence[Answered]) -> dict[tuple[str, str], Answered]:
    """Answers by one kind of name and the asking; none where it does not tell the questions apart."""
    found = {(answer.keys[kind], answer.outcome.asked): answer for answer in answers if kind in answer.keys}
    return found if len(found) == len(answers) else {}


def _unknown(answer: Answered, other: Answered) -> bool:
    return (answer.number is None or other.number is None) and (answer.label is None or other.label is None)


def _golds_differ(answer: Answered, other: Answered) -> bool:
    if answer.number is not None and other.number is not None:
        return answer.number != other.number
    return not _unknown(answer, other) and answer.label != other.label


def _gold(answer: Answered) -> str:
    return str(answer.label if answer.label is not None else answer.number)


def _left_out(side: str, answers: Sequence[Answered], kept: Sequence[Answered]) -> dict[str, Any]:
    inside = {id(answer) for answer in kept}
    out = [answer.outcome.id for answer in answers if id(answer) not in inside]
    return {f"unpaired_{side}": len(out), f"unpaired_{side}_named": out[:NAMED]}
