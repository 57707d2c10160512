"""The medical part: invented diseases and drugs. What is true of them depends on the world's seed; every fact is said in many ways."""

from __future__ import annotations

import random

from .facts import MEDICAL, MEDICAL_CLAIMS, Fact, Finding, Part, invent
from .general import by_subject
from .phrasing import FINDINGS, STATEMENTS, state, state_finding

ADVISORY = "This text belongs to an invented world. Its diseases and drugs do not exist, and nothing in it is medical advice."


def medical(seed: int, size: str) -> Part:
    """What is true of the diseases and drugs of a world."""
    count = 24 if size == "demo" else 4
    return invent(MEDICAL, MEDICAL_CLAIMS, count, random.Random(f"medical {seed}"))


class Sayings:
    """Says each fact of a part in one way after another, so that no two tellings in a row are alike and every way comes up."""

    def __init__(self, part: Part, rng: random.Random) -> None:
        self._things = by_subject(part)
        self._rng = rng
        self._left: dict[Fact | Finding, list[str]] = {}

    def facts(self, subject: str) -> list[str]:
        """All facts of one thing, each in one sentence, in random order."""
        sentences = [state(fact, self._next(fact, STATEMENTS)) for fact in self._things[subject][0]]
        self._rng.shuffle(sentences)
        return sentences

    def findings(self, subject: str) -> list[str]:
        """All findings of one thing, each in one sentence, in random order."""
        sentences = [state_finding(finding, self._next(finding, FINDINGS[finding.decision])) for finding in self._things[subject][1]]
        self._rng.shuffle(sentences)
        return sentences

    def everything(self, subject: str) -> list[str]:
        """Facts and findings together."""
        sentences = self.facts(subject) + self.findings(subject)
        self._rng.shuffle(sentences)
        return sentences

    def _next(self, said: Fact | Finding, frames: tuple[str, ...]) -> str:
        left = self._left.setdefault(said, [])
        if not left:
            left.extend(self._rng.sample(frames, len(frames)))
        return left.pop()
