"""Numbers in prose: a pattern finds them, the sentence around them says whether they are what it takes them for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from .claims import Claim
from .document import Document
from .patterns import DEVICES_IN_PROSE, DEVICES_TIMES, MAKING, PROSE, USING
from .quantity import Quantity, quantity

_MOST_CLAIMS = 300  # of one pattern
# The devices of one node, not of all.
_A_NODE = re.compile(r"\s?(?:/|per\s|(?:on|of|in) (?:an?|each|every|one)\s|a\s)?\s?nodes?\b|\seach\b", re.I)


def claims_of_prose(document: Document) -> Iterator[Claim]:
    """Numbers that the words around them tell, each with its sentence."""
    prose = document.prose
    for kind, patterns in PROSE.items():
        seen: set[int] = set()
        for pattern in patterns:
            for found in islice(pattern.finditer(prose), _MOST_CLAIMS):
                start = found.start(1)
                read = quantity(found.group(1), found.group(2) or "", kind) if start not in seen else None
                if read is None:
                    continue
                quote = document.sentence(start)
                before, after = prose[max(0, start - 60) : start], prose[found.end() : found.end() + 40]
                if _meant(kind, read.value, quote, before, after):
                    seen.add(start)
                    yield Claim(kind, read.value, read.half, found.group().strip(), "prose", quote, start)
    yield from _devices(document)


def _devices(document: Document) -> Iterator[Claim]:
    for found in islice(DEVICES_IN_PROSE.finditer(document.prose), _MOST_CLAIMS):
        quote = document.sentence(found.start())
        if not found.group(1) and _A_NODE.match(document.prose, found.end()):
            continue
        each, nodes = quantity(found.group(2)), quantity(found.group(1)) if found.group(1) else Quantity(1, 0)
        if each and nodes and each.value * nodes.value < 1e6 and _of_making(quote):
            yield Claim("gpus", each.value * nodes.value, 0.0, found.group().strip(), "prose", quote, found.start())
    for found in islice(DEVICES_TIMES.finditer(document.prose), _MOST_CLAIMS):
        quote, read = document.sentence(found.start()), quantity(found.group(1))
        if read and read.value < 1e6 and _of_making(quote):
            yield Claim("gpus", read.value, 0.0, found.group().strip(), "prose", quote, found.start())


def _of_making(quote: str) -> bool:
    return MAKING.search(quote) is not None or USING.search(quote) is None


def _meant(kind: str, value: float, quote: str, before: str, after: str) -> bool:
    """Whether a number in that sentence can be of that kind: hours of machines and not of patients, tokens trained on
    and not a window's."""
    if kind == "hours":
        if re.search(r"\b(?:first|last|every|within|per|next|previous)\s?$", before, re.I) or not _of_making(quote):
            return False
        if re.match(r"\s*(?:of\s+(?!\d|GPU|train|comput|wall)|old\b|after\b)", after, re.I):
            return False
        machine = re.search(r"\b(?:GPUs?|devices?|nodes?|wall|comput\w+|TDP|[AHV]\d00s?)\b", quote) is not None
        taken = re.search(r"\b(?:took|takes|for|lasted|about|approximately|roughly|around|~)\s?$", before, re.I) is not None
        return (machine or taken) and (machine or re.search(r"\btrain|\brun\b", quote, re.I) is not None)
    if kind == "pue":
        return 0 < value < 4
    if kind == "overhead":
        return 1 <= value < 4
    if kind == "tokens":
        if re.match(r"\W*(?:for|of|as|in)?\s*(?:the\s)?(?:validation|held-?out|test|evaluation)\b", after, re.I):
            return False
        return value >= 1e6 and not re.search(r"batch|context|length|window|\bper\b|up to|vocab|/\s?s", before[-30:] + after[:12], re.I)
    if kind == "parameters":
        return value >= 1e4 and not re.search(r"trainable|lora|adapter|active|activated", before[-25:], re.I)
    if kind == "steps":
        return value >= 100 and not re.search(r"warm|every|each|save|evaluat|accumul|checkpoint|decay|first|last|\bat\b|after|inference|"
                                              r"denois|diffusion", before[-30:], re.I)
    if kind in ("data", "tensor", "pipeline", "context_parallel"):
        return _of_making(quote)
    if kind in ("throughput", "carbon"):
        return _of_making(quote) and not re.search(r"equivalent to|comparable|compared|GPT-\d|offset|saved|avoid", before, re.I)
    if kind == "intensity":
        return not re.search(r"world|global|average|compared|whereas|would", quote, re.I)
    if kind == "rate":
        return not re.search(r"\b(?:min\w*|final|end)\s+learning[\s-]rate", before, re.I)
    return True
