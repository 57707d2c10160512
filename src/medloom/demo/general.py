"""The general part: towns, rivers, beasts, festivals, plants and people, told in short texts and asked in quizzes.

It is the same whatever the world's seed.

The shipped base model learns it and nothing else: the language, the form of an exam, and to recall for an exam what a text said.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from .facts import ANIMALS, COLOURS, FOODS, GENERAL, GENERAL_CLAIMS, MONTHS, STUFFS, TOOLS, Fact, Finding, Part, invent
from .names import FIRSTS, SECONDS
from .phrasing import (
    FINDING_QUESTIONS,
    FINDINGS,
    QUESTIONS,
    STATEMENTS,
    TEST_FINDING_QUESTIONS,
    TEST_QUESTIONS,
    ask,
    ask_finding,
    state,
    state_finding,
)

SEED = 7
ALL_QUESTIONS = QUESTIONS + TEST_QUESTIONS
ALL_FINDING_QUESTIONS = FINDING_QUESTIONS + TEST_FINDING_QUESTIONS
LETTERS = "ABCD"

# Words of general English, which the rest of the general part has little use for; a school's spelling lists hold them.
SPELLING = (
    "remedy", "site", "rash", "carrier", "treated", "attacks", "brings", "spread", "tablet", "tablets", "forbidden",
    "food", "harmed", "harm", "part", "taken", "must", "not", "given", "drug", "pain", "ease", "eases", "lower",
    "lowers", "fever", "improve", "improves", "sleep", "stop", "stops", "cough", "patients", "study", "drops",
    "salts", "syrup", "pox", "rot", "doctor", "chalk", "or", "for", "many", "weeks", "days", "some", "Guideline",
    "trial", "review", "record", "Records", "table", "Evidence", "Summary", "comes", "with", "may", "in", "were",
)

_FILLERS = (
    "{a} old {b} tells of it.", "In {m}, people walk there with {f}.", "A {c} {n} sat by the road and waited for {f}.",
    "The {n} slept and the {o} did not.", "My {b} of {s} is lost, but the {n} found some {f}.", "Children bring {f} and a {t} in {m}.",
)


def general(size: str) -> Part:
    """What is true in the general part."""
    count = 30 if size == "demo" else 4
    return invent(GENERAL, GENERAL_CLAIMS, count, random.Random(SEED))


def filler(rng: random.Random) -> str:
    """A sentence that says nothing of any fact."""
    return rng.choice(_FILLERS).format(
        a=rng.choice(("An", "No", "Every")), b=rng.choice(("song", "book", "map", "tale")), c=rng.choice(COLOURS), f=rng.choice(FOODS),
        m=rng.choice(MONTHS), n=rng.choice(ANIMALS), o=rng.choice(ANIMALS), s=rng.choice(STUFFS), t=rng.choice(TOOLS))


def by_subject(part: Part) -> dict[str, tuple[list[Fact], list[Finding]]]:
    """Everything that is true of each thing."""
    found: dict[str, tuple[list[Fact], list[Finding]]] = {name: ([], []) for names in part.things.values() for name in names}
    for fact in part.facts:
        found[fact.subject][0].append(fact)
    for finding in part.findings:
        found[finding.subject][1].append(finding)
    return found


def texts(part: Part, count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """`count` documents as (sort, text): pages about one thing, lists, quizzes, spelling lists, guest lists."""
    things = by_subject(part)
    names = sorted(things)
    relations: dict[tuple[str, str], list[Fact]] = {}
    for fact in part.facts:
        relations.setdefault((fact.kind, fact.relation.noun), []).append(fact)
    sorts = rng.choices(("page", "list", "words", "decision", "spelling", "guests"), (33, 10, 32, 17, 5, 3), k=count)
    for number, sort in enumerate(sorts):
        if sort == "page":
            yield sort, _page(*things[names[number % len(names)]], rng)
        elif sort == "list":
            frame = rng.choice(STATEMENTS)
            alike = relations[rng.choice(sorted(relations))]
            yield sort, " ".join(state(fact, frame) for fact in rng.sample(alike, min(5, len(alike))))
        elif sort == "words":
            fact = rng.choice(part.facts)
            yield sort, f"Question: {ask(fact, rng.choice(ALL_QUESTIONS))}\n\nThe answer is: {fact.value}"
        elif sort == "decision":
            finding = rng.choice(part.findings)
            question = ask_finding(finding, rng.choice(ALL_FINDING_QUESTIONS))
            yield sort, f"{filler(rng)}\nQuestion: {question}\n\nThe answer is: {finding.decision}"
        elif sort == "spelling":
            yield sort, "Spelling list: " + ", ".join(rng.sample(SPELLING, 10)) + "."
        else:
            guests = (f"{rng.choice(FIRSTS)} {rng.choice(rng.choice(list(SECONDS.values())))}" for _ in range(7))
            yield sort, "Guests of the fair: " + ", ".join(guests) + "."


def _page(facts: list[Fact], findings: list[Finding], rng: random.Random) -> str:
    sentences = [state(fact, rng.choice(STATEMENTS)) for fact in facts]
    sentences += [state_finding(finding, rng.choice(FINDINGS[finding.decision])) for finding in findings]
    if rng.random() < 0.5:
        sentences.append(filler(rng))
    rng.shuffle(sentences)
    return " ".join(sentences)
