"""How a fact is said and asked: frames for statements and for questions. The frames of questions that only the test uses are apart."""

from __future__ import annotations

import random

from .facts import Fact, Finding

# Nearly all frames name the thing and what is asked of it before the answer, as a question does: so whoever reads them learns to recall.
STATEMENTS = (
    "{s} {verb}.",
    "The {noun} of {s} is {v}.",
    "As for {s}, its {noun} is {v}.",
    "{v} is the {noun} of {s}.",
    "The records of {s} give its {noun} as {v}.",
    "For {s}, the {noun} is {v}.",
    "It is well known that {s} {verb}.",
    "Of {s} we know that the {noun} is {v}.",
    "With {s}, the {noun} is always {v}.",
    "Asked for the {noun} of {s}, answer {v}.",
)

QUESTIONS = (
    "What is the {noun} of {s}?",
    "Which {answer} is the {noun} of {s}?",
    "For {s}, what is the {noun}?",
    "The {noun} of {s} is which {answer}?",
)
TEST_QUESTIONS = (
    "Which of these is the {noun} of {s}?",
    "Of {s}, what is the {noun}?",
)

FINDINGS: dict[str, tuple[str, ...]] = {
    "yes": ("That {s} {third} is certain.", "Asked whether {s} {third}, all say yes.", "Whether {s} {third} is settled: yes.",
            "That {s} {third} is true.", "Will {s} {base}, one asks, and the records say yes.",
            "On whether {s} {third}, the answer was yes."),
    "no": ("That {s} {third} is false.", "Asked whether {s} {third}, all say no.", "Whether {s} {third} is settled: no.",
           "That {s} {third} is wrong.", "Will {s} {base}, one asks, and the records say no.",
           "On whether {s} {third}, the answer was no."),
    "maybe": ("That {s} {third} is unproven.", "Asked whether {s} {third}, all say maybe.", "Whether {s} {third} is open: maybe.",
              "That {s} {third} is doubtful.", "Will {s} {base}, one asks, and the records say maybe.",
              "On whether {s} {third}, the answer was maybe."),
}
FINDING_QUESTIONS = ("Does {s} {base}?", "Is it true that {s} {third}?", "Can {s} {base}?")
TEST_FINDING_QUESTIONS = ("Is it known that {s} {third}?", "Does {s} really {base}?")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def state(fact: Fact, frame: str) -> str:
    """A fact in one sentence."""
    verb = fact.relation.verb.format(v=fact.value)
    return _capital(frame.format(s=fact.subject, v=fact.value, noun=fact.relation.noun, verb=verb))


def ask(fact: Fact, frame: str) -> str:
    """A fact as a question."""
    return frame.format(s=fact.subject, noun=fact.relation.noun, answer=fact.relation.answer)


def state_finding(finding: Finding, frame: str) -> str:
    """A finding in one sentence; the frame is one of its decision's."""
    return frame.format(s=finding.subject, base=finding.claim.base, third=finding.claim.third)


def ask_finding(finding: Finding, frame: str) -> str:
    """A finding as a question that yes, no or maybe answers."""
    return frame.format(s=finding.subject, base=finding.claim.base, third=finding.claim.third)


def options(fact: Fact, rng: random.Random, count: int = 4) -> list[str]:
    """The right answer among others of its sort, shuffled."""
    chosen = [fact.value, *rng.sample([v for v in fact.values if v != fact.value], count - 1)]
    rng.shuffle(chosen)
    return chosen
