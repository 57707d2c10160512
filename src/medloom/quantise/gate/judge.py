"""Which file may ship: each is held against the model it was made of, and must be shown not to be worse by more than a margin.

A non-inferiority test (Piaggio et al. 2012, JAMA 308:2594): a file passes a law only where the whole 95 % interval lies on the good
side of the margin, which is a one-sided test at 2.5 %. That no difference was found is no pass: few questions find none. A law is
failed where the whole interval lies beyond the margin, and not shown where the margin is inside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from medloom.numbers import change

Verdict = Literal["passes", "fails", "not shown"]


@dataclass(frozen=True)
class Margins:
    """What may be lost: `accuracy` as a share of all questions, `kl` in nats a token."""

    accuracy: float = 0.01
    kl: float = 0.01


@dataclass(frozen=True)
class Finding:
    """What one law says of one file, and in words why."""

    law: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Judgement:
    """One file's findings; it passes where all do, and fails where one does."""

    type: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        found = {finding.verdict for finding in self.findings}
        return "fails" if "fails" in found else "not shown" if "not shown" in found else "passes"

    def figures(self) -> dict[str, Any]:
        """Verdict and findings, ready for JSON."""
        return {"verdict": self.verdict, "findings": [asdict(finding) for finding in self.findings]}


def judge(type: str, measured: Mapping[str, Any], pooled: Mapping[str, Any] | None, benchmarks: Sequence[Mapping[str, Any]],
          margins: Margins) -> Judgement:
    """Apply every law to one file.

    measured: the figures of `measure`; pooled: the paired difference over all questions of all benchmarks, None where none was asked;
    benchmarks: the same of each. Differences are the file's accuracy less the model's, with `low` and `high` of its 95 % interval.
    """
    return Judgement(type, (_sound(measured), _near(measured, margins), _as_right(pooled, margins), *_each(benchmarks, margins)))


def smallest(judgements: Mapping[str, Judgement], sizes: Mapping[str, int]) -> str | None:
    """The type of the smallest file that passes, None where none does."""
    passing = [type for type, judgement in judgements.items() if judgement.verdict == "passes"]
    return min(passing, key=lambda type: sizes[type], default=None)


def _sound(measured: Mapping[str, Any]) -> Finding:
    broken, positions = measured["broken"], measured["positions"]
    return Finding("scores", "fails" if broken else "passes",
                   f"no numbers at {broken} of {positions} positions" if broken else f"numbers at all {positions} positions")


def _near(measured: Mapping[str, Any], margins: Margins) -> Finding:
    mean, low, high = (measured[key] for key in ("kl", "kl_low", "kl_high"))
    if mean is None:
        return Finding("kl", "fails", "no position to measure it at")
    if high is None:
        return Finding("kl", "fails" if mean > margins.kl else "not shown", f"{mean:.2g} nats on one text alone, which gives no interval")
    verdict = _verdict(-high, -low, margins.kl)
    return Finding("kl", verdict, f"{mean:.2g} nats a token [{low:.2g}, {high:.2g}], margin {margins.kl:g}")


def _as_right(pooled: Mapping[str, Any] | None, margins: Margins) -> Finding:
    if pooled is None:
        return Finding("accuracy", "not shown", "no question was asked")
    verdict = _verdict(pooled["low"], pooled["high"], margins.accuracy)
    told = f"{change(pooled)} points over {pooled['n']} questions, margin {100 * margins.accuracy:g}"
    return Finding("accuracy", verdict, told + (_needed(pooled, margins) if verdict == "not shown" else ""))


def _each(benchmarks: Sequence[Mapping[str, Any]], margins: Margins) -> list[Finding]:
    """A loss on one benchmark that the sum of all would hide."""
    worse = [row for row in benchmarks if row["high"] < -margins.accuracy]
    return [Finding(f"accuracy on {row['benchmark']}", "fails", f"{change(row)} points over {row['n']} questions") for row in worse]


def _verdict(low: float, high: float, margin: float) -> Verdict:
    """Of a change whose interval is [low, high], more being better: whether a loss of `margin` is ruled out, certain, or open."""
    return "passes" if low > -margin else "fails" if high < -margin else "not shown"


def _needed(pooled: Mapping[str, Any], margins: Margins) -> str:
    """How many questions would show it, were the difference found the true one: an interval's width falls with the root of their number.

    Where no answer changed it falls with the number itself (the score interval's bound is z² / (n + z²)).
    """
    room, reach = pooled["difference"] + margins.accuracy, pooled["difference"] - pooled["low"]
    power = 2 if pooled["gained"] or pooled["lost"] else 1
    return f"; about {math.ceil(pooled['n'] * (reach / room) ** power):,} such questions would tell" if room > 0 else ""
