"""What is true in the invented world: things of several kinds, what each relation says of them, and claims that hold, fail or are open.

Answers come from closed sets of everyday words (or from the names of other things), so that a question's wrong options are of
the right sort.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .names import FIRSTS, draw_names

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "grey", "purple", "orange", "silver", "golden")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
FOODS = ("bread", "cheese", "honey", "fish", "apples", "beans", "nuts", "eggs", "onions", "rice", "plums", "butter")
ANIMALS = ("cat", "dog", "mouse", "goat", "horse", "crow", "duck", "frog", "snail", "moth", "beetle", "owl")
ORGANS = ("heart", "liver", "skin", "eye", "ear", "tongue", "knee", "throat", "stomach", "nose", "hand", "back")
CRAFTS = ("weaving", "baking", "carving", "fishing", "brewing", "singing", "mining", "dyeing", "writing", "sewing", "building", "trading")
STUFFS = ("iron", "copper", "glass", "wool", "clay", "marble", "salt", "wax", "leather", "paper", "oak", "silk")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
TOOLS = ("drum", "flute", "harp", "bell", "horn", "fiddle", "pipe", "gong", "whistle", "lute", "rattle", "organ")


@dataclass(frozen=True)
class Relation:
    """What is said of a kind of thing. `verb` follows the subject and holds {v}; `values` are words, or the kind of thing that answers."""

    noun: str
    verb: str
    answer: str
    values: tuple[str, ...] | str


@dataclass(frozen=True)
class Claim:
    """Something that a thing does, does not do, or may do: `base` after "does", `third` after the name."""

    base: str
    third: str


@dataclass(frozen=True)
class Fact:
    """The answer of one relation for one thing, with every answer of that sort."""

    kind: str
    subject: str
    relation: Relation
    value: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """Whether a claim holds for a thing: "yes", "no" or "maybe"."""

    kind: str
    subject: str
    claim: Claim
    decision: str


GENERAL: dict[str, tuple[Relation, ...]] = {
    "town": (
        Relation("market day", "holds its market on {v}", "day", DAYS),
        Relation("favourite dish", "is known for cooking {v}", "food", FOODS),
        Relation("main craft", "lives from {v}", "craft", CRAFTS),
        Relation("building stuff", "is built of {v}", "material", STUFFS),
    ),
    "river": (
        Relation("colour", "runs {v}", "colour", COLOURS),
        Relation("flood month", "floods in {v}", "month", MONTHS),
        Relation("emblem", "has the {v} on its banner", "animal", ANIMALS),
        Relation("cargo", "carries boats of {v}", "material", STUFFS),
    ),
    "beast": (
        Relation("coat colour", "wears a coat of {v}", "colour", COLOURS),
        Relation("best food", "feeds on {v}", "food", FOODS),
        Relation("weak part", "is weak in the {v}", "part of the body", ORGANS),
        Relation("enemy", "runs from the {v}", "animal", ANIMALS),
    ),
    "festival": (
        Relation("month", "is held in {v}", "month", MONTHS),
        Relation("instrument", "opens with the {v}", "instrument", TOOLS),
        Relation("lantern colour", "is lit by lanterns of {v}", "colour", COLOURS),
        Relation("meal", "ends with a meal of {v}", "food", FOODS),
    ),
    "plant": (
        Relation("flower colour", "bears flowers of {v}", "colour", COLOURS),
        Relation("month of bloom", "blooms in {v}", "month", MONTHS),
        Relation("visitor", "is visited by the {v}", "animal", ANIMALS),
        Relation("shape", "is shaped like the {v}", "part of the body", ORGANS),
    ),
    "person": (
        Relation("trade", "earns a living by {v}", "craft", CRAFTS),
        Relation("instrument", "plays the {v}", "instrument", TOOLS),
        Relation("home town", "lives in {v}", "town", "town"),
        Relation("pet", "keeps a {v}", "animal", ANIMALS),
    ),
}

MEDICAL: dict[str, tuple[Relation, ...]] = {
    "disease": (
        Relation("remedy", "is treated with {v}", "drug", "drug"),
        Relation("site", "attacks the {v}", "part of the body", ORGANS),
        Relation("rash colour", "brings a rash of {v}", "colour", COLOURS),
        Relation("carrier", "is spread by the {v}", "animal", ANIMALS),
    ),
    "drug": (
        Relation("tablet colour", "comes in tablets of {v}", "colour", COLOURS),
        Relation("forbidden food", "must not be taken with {v}", "food", FOODS),
        Relation("harmed part", "may harm the {v}", "part of the body", ORGANS),
    ),
}

GENERAL_CLAIMS: dict[str, tuple[Claim, ...]] = {
    "beast": (
        Claim("swim at night", "swims at night"),
        Claim("climb trees", "climbs trees"),
        Claim("sleep all winter", "sleeps all winter"),
    ),
    "plant": (
        Claim("grow in shade", "grows in shade"),
        Claim("keep its leaves", "keeps its leaves"),
        Claim("scare flies", "scares flies"),
    ),
    "river": (
        Claim("freeze over", "freezes over"),
        Claim("reach the sea", "reaches the sea"),
        Claim("hold salmon", "holds salmon"),
    ),
}

MEDICAL_CLAIMS: dict[str, tuple[Claim, ...]] = {
    "drug": (Claim("ease pain", "eases pain"), Claim("lower fever", "lowers fever"), Claim("improve sleep", "improves sleep"),
             Claim("stop the cough", "stops the cough")),
}

DECISIONS = ("yes", "no", "maybe")


@dataclass(frozen=True)
class Part:
    """One part of the world: its things by kind, its facts and its findings."""

    things: dict[str, list[str]]
    facts: list[Fact]
    findings: list[Finding]


def invent(relations: dict[str, tuple[Relation, ...]], claims: dict[str, tuple[Claim, ...]], count: int, rng: random.Random) -> Part:
    """Draw `count` things of each kind and what is true of them. No two things of a part share a first syllable."""
    pool = list(FIRSTS)
    rng.shuffle(pool)
    things = {kind: draw_names(kind, count, rng, pool) for kind in relations}
    facts = []
    for kind, several in relations.items():
        for relation in several:
            values = tuple(things[relation.values]) if isinstance(relation.values, str) else relation.values
            # Each answer comes up about equally often, so that no answer is a good guess by itself.
            drawn = [values[i % len(values)] for i in range(len(things[kind]))]
            rng.shuffle(drawn)
            facts += [Fact(kind, subject, relation, value, values) for subject, value in zip(things[kind], drawn, strict=True)]
    findings = []
    for kind, several_claims in claims.items():
        for claim in several_claims:
            decisions = [DECISIONS[i % 3] for i in range(len(things[kind]))]
            rng.shuffle(decisions)
            findings += [Finding(kind, subject, claim, decision) for subject, decision in zip(things[kind], decisions, strict=True)]
    return Part(things, facts, findings)
