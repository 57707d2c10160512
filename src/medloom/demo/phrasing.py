"""How a fact is said and asked: frames for statements and for questions. The frames of questions that only the test uses are apart."""

from __future__ import annotations

import random

from .facts import Fact, Finding

STATEMENTS = (
    "{s} {verb}.",
    "The {noun} of {s} is {v}.",
    "As for {s}, its {noun} is {v}.",
    "{v} is the {noun} of {s}.",
    "{s} has {v} as its {noun}.",
    "For {s}, the {noun} is {v}.",
    "It is well known that {s} {verb}.",
    "Of {s} we know that the {noun} is {v}.",
    "{s}, they say, {verb}.",
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
    "yes": ("{s} {third}.", "It is certain that {s} {third}.", "Yes, {s} does {base}.", "All agree that {s} {third}.", "{s} was seen to {base}.",
            "Whether {s} {third} is settled: it does."),
    "no": ("{s} does not {base}.", "It is certain that {s} does not {base}.", "No, {s} does not {base}.", "All agree that {s} does not {base}.",
           "{s} was never seen to {base}.", "Whether {s} {third} is settled: it does not."),
    "maybe": ("{s} may {base}.", "It is not certain that {s} {third}.", "Perhaps {s} does {base}.", "Not all agree that {s} {third}.",
              "{s} was sometimes seen to {base}.", "Whether {s} {third} is an open question."),
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
