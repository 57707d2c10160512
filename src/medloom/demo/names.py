"""Invented names, all from one inventory of syllables, so that a tokenizer trained on one part of the world cuts those of every part well.

A name is an invented syllable and a plain word for its kind: "Brask drops" is a drug, "Brask Moor" a town, "Felb rot" a disease.
Nothing real is so called.
"""

from __future__ import annotations

import random

_ONSETS = ("B", "Br", "D", "Dr", "F", "Fl", "G", "Gr", "H", "J", "K", "Kl", "L", "M", "N", "P", "Qu", "R", "Sk", "T", "Tr", "V", "W", "Z")
_RHYMES = ("ask", "elb", "irn", "ofs", "umd", "arv", "epp", "isk", "ozz", "ulm")

FIRSTS: tuple[str, ...] = tuple(onset + rhyme for onset in _ONSETS for rhyme in _RHYMES)

SECONDS: dict[str, tuple[str, ...]] = {
    "town": ("Moor", "Gate", "Field"),
    "river": ("Brook", "Water", "Bend"),
    "beast": ("bear", "fox", "lizard"),
    "festival": ("Feast", "Fair", "Night"),
    "plant": ("thorn", "leaf", "root"),
    "person": ("Senior", "Junior", "Smith"),
    "disease": ("fever", "pox", "rot"),
    "drug": ("drops", "salts", "syrup"),
}


def draw_names(kind: str, count: int, rng: random.Random, firsts: list[str]) -> list[str]:
    """`count` names of a kind; first syllables are taken from the end of `firsts`, each once. Raises ValueError where too few are left."""
    if count > len(firsts):
        raise ValueError(f"only {len(firsts)} different first syllables are left for {count} names of kind {kind}")
    return [firsts.pop() + " " + rng.choice(SECONDS[kind]) for _ in range(count)]
