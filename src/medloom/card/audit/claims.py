"""What a card states in numbers, each with the sentence or cell that it rests on.

Numbers of prose are known by the words around them (`patterns`), numbers of tables and settings by their labels. What no pattern knows is
not audited: silence of the audit proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from .document import Document, parse_document, read_document
from .front import emissions_grams, index_tables
from .known import bare
from .patterns import (
    DEVICES_IN_PROSE,
    DEVICES_TIMES,
    LABELS,
    MAKING,
    PROSE,
    SCALE_IN_LABEL,
    UNIT,
    UNITED,
    USING,
    VALUE,
    VALUE_WITH_UNIT,
    plain_label,
)
from .quantity import Quantity, quantity
from .tables import Table, number

Place = Literal["prose", "table", "front"]
_SHARED = frozenset(("tokens", "watts", "pue", "overhead", "intensity", "length", "context"))  # what variants of a model have in common
_MOST_RUNS = 100
_MOST_CLAIMS = 300  # of one pattern in the prose
# The devices of one node, not of all.
_A_NODE = re.compile(r"\s?(?:/|per\s|(?:on|of|in) (?:an?|each|every|one)\s|a\s)?\s?nodes?\b|\seach\b", re.I)
_SUM = re.compile(r"^(?:total|sum|all)\b", re.I)


@dataclass(frozen=True)
class Claim:
    """A number that the card states, in base units (tokens, kilograms, kWh, hours, watts): `half` a unit of its last printed place, where
    it stands, the passage, and the variant of the model that it is of ("" for the card's one model or all of them)."""

    kind: str
    value: float
    half: float
    printed: str
    place: Place
    quote: str
    start: int = 0
    variant: str = ""


@dataclass(frozen=True)
class Card:
    """A card as the laws see it. `claims` are those of one run: of all that the card says in common, or of one variant."""

    document: Document
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    variant: str = ""

    def of(self, kind: str, place: Place | None = None) -> list[Claim]:
        """Claims of a kind, in order."""
        return [claim for claim in self.claims if claim.kind == kind and place in (None, claim.place)]

    def values(self, kind: str, place: Place | None = None) -> list[float]:
        """Distinct values of a kind, in order."""
        return list(dict.fromkeys(claim.value for claim in self.of(kind, place)))

    def one(self, kind: str, place: Place | None = None) -> float | None:
        """The first value of a kind."""
        return next(iter(self.values(kind, place)), None)

    def quote(self, kind: str, place: Place | None = None) -> str:
        """The passage of the first claim of a kind."""
        return next((claim.quote for claim in self.of(kind, place)), "")

    @cached_property
    def runs(self) -> tuple[Card, ...]:
        """One card for what is said in common and one for each variant, which takes from the common what it does not say itself."""
        common = [claim for claim in self.claims if not claim.variant]
        runs = [replace(self, claims=tuple(common))]
        for variant in dict.fromkeys(claim.variant for claim in self.claims if claim.variant):
            own = [claim for claim in self.claims if claim.variant == variant]
            kinds = {claim.kind for claim in own}
            if len(kinds) < 2 or len(runs) > _MOST_RUNS:
                continue
            own += _sized(variant) if "parameters" not in kinds else []
            shared = [claim for claim in common if claim.kind in _SHARED - kinds]
            runs.append(replace(self, claims=(*own, *shared), variant=variant))
        return tuple(runs)


def _sized(variant: str) -> list[Claim]:
    """The parameters that a variant's name tells, "Llama 2 7B"."""
    found = re.search(r"(?<![\w.])(\d{1,4}(?:\.\d)?)\s?B\b", variant)
    read = quantity(found.group(1), "B") if found else None
    return [Claim("parameters", read.value, read.half, variant, "table", variant, 0, variant)] if read else []


def read_card(path: Path) -> Card:
    """Read a card in Markdown, plain text or HTML. Raises Refusal where it is no text."""
    return _card(read_document(path))


def parse_card(text: str) -> Card:
    """Claims and tables of a card's text."""
    return _card(parse_document(text))


def _card(document: Document) -> Card:
    tables = (*document.tables, *index_tables(document.front))
    claims = [*_from_front(document.front), *(claim for table in document.tables for claim in _from_table(table)),
              *_from_settings(document), *_from_cells(document), *sorted(_from_prose(document), key=lambda claim: claim.start)]
    return Card(document, tables, tuple(claims))


def _from_front(front: Mapping[str, Any]) -> Iterator[Claim]:
    grams = emissions_grams(front)
    if grams is not None and grams > 0:
        found = quantity(repr(grams), "g", "carbon")
        if found:
            yield Claim("carbon", found.value, found.half, f"{grams:g} g", "front", f"co2_eq_emissions: {grams:g} (the hub reads grams)")


def _from_prose(document: Document) -> Iterator[Claim]:
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
                if _meant(kind, read.value, quote, before, after, document):
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


def _meant(kind: str, value: float, quote: str, before: str, after: str, document: Document) -> bool:
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


def _from_settings(document: Document) -> Iterator[Claim]:
    """Lines "key: value". Of several stages that a card describes each line is of one: they are not told apart."""
    for label, value in document.settings:
        yield from _labelled(label, value, "", f"{label}: {value}"[:300])


def _from_cells(document: Document) -> Iterator[Claim]:
    """Rows of two cells whose label is of no kind are read like sentences: "Hardware | 64x A100", "Parallelism | DP 16, TP 4"."""
    lines = [f"{row[0]}: {row[1]}." for table in document.tables if len(table.header) in (0, 2) for row in (table.header, *table.rows[:200])
             if len(row) == 2 and not kind_of(row[0]) and re.search(r"\d", row[1])]
    for claim in _from_prose(replace(document, prose="\n".join(lines))):
        yield replace(claim, place="prose" if claim.kind == "tokens" else "table")


def _from_table(table: Table) -> Iterator[Claim]:
    """Three forms: rows of a label and a value; a header of labels over rows that are variants; rows of labels under variants."""
    rows = [row for row in table.rows if len(row) >= 2]
    columns = [place for place, cell in enumerate(table.header) if place and kind_of(cell)]
    if columns and table.header and len(rows) > 0:
        named = [row for row in rows if not _SUM.match(row[0])]
        names = _variants(table, named, columns)
        for row, name in zip(named, names, strict=True):
            for place in columns:
                if place < len(row):
                    yield from _labelled(table.header[place], row[place], name, f"{row[0]}: {table.header[place]} {row[place]}")
        for row in rows if named else ():
            for place in columns if _SUM.match(row[0]) else ():
                if place < len(row):
                    yield from _labelled(table.header[place], row[place], "", f"{row[0]}: {table.header[place]} {row[place]}")
        return
    labelled = [row for row in rows if kind_of(row[0])]
    wide = [row for row in labelled if sum(number(cell) is not None for cell in row[1:]) > 1]
    if len(wide) >= 2 and table.header:
        for row in labelled:
            for place in range(1, min(len(row), len(table.header))):
                if table.header[place] and not _SUM.match(table.header[place]):
                    yield from _labelled(row[0], row[place], table.header[place], f"{row[0]}: {table.header[place]} {row[place]}")
        return
    if not any(len(row) > 3 for row in rows):
        head = [table.header] if len(table.header) >= 2 and kind_of(table.header[0]) else []
        for row in [*head, *rows]:
            yield from _labelled(row[0], row[1], "", f"{row[0]} | {row[1]}")


def _variants(table: Table, rows: list[tuple[str, ...]], columns: list[int]) -> list[str]:
    """What the rows of a table are called: by their first cells, by their sizes too where these are the same; "" where there is one row."""
    if len(rows) == 1:
        return [""]
    names = [row[0] for row in rows]
    sizes = next((place for place in columns if kind_of(table.header[place]) == "parameters"), None)
    if len(set(names)) < len(names) and sizes is not None:
        names = [f"{row[0]} {row[sizes]}" for row in rows]
    return [name if names.count(name) == 1 else f"{name} (row {number})" for number, name in enumerate(names, 1)]


def kind_of(label: str) -> str | None:
    """The kind of number that a label announces."""
    plain = SCALE_IN_LABEL.sub("", plain_label(label))
    return next((kind for kind, pattern in LABELS.items() if pattern.match(plain)), None)


def _labelled(label: str, value: str, variant: str, quote: str) -> Iterator[Claim]:
    kind = kind_of(label)
    value = value.lstrip("~\u2248 ")
    if kind in UNIT or kind is None:
        yield from _with_unit(kind, label, value, variant, quote)
        return
    found = VALUE.match(value)
    scale = SCALE_IN_LABEL.search(plain_label(label))
    read = quantity(found.group(1), found.group(2) or (scale.group(1) if scale else ""), kind) if found else None
    if read is not None and found is not None and not _other_unit(kind, value[found.end() :]):
        yield Claim(kind, read.value, read.half, value, "table", quote, 0, variant)


def _other_unit(kind: str, rest: str) -> bool:
    """Whether what follows a labelled number makes it something else: a share, a batch counted in tokens."""
    return rest.lstrip()[:1] == "%" or (kind in ("global_batch", "micro_batch") and "token" in rest[:12].lower())


def _with_unit(kind: str | None, label: str, value: str, variant: str, quote: str) -> Iterator[Claim]:
    """Cells whose number needs its unit: "0.2 kWh", "480 gCO2e/kWh", "31.22" under "Carbon emitted (tCO2eq)"."""
    for united in (kind,) if kind in UNIT and kind not in UNITED else ("intensity", "carbon", "kwh"):
        for pattern in PROSE[united]:
            inside = pattern.match(value)
            read = quantity(inside.group(1), inside.group(2), united) if inside else None
            if read is not None:
                yield Claim(united, read.value, read.half, value, "table", quote, 0, variant)
                return
    found = VALUE_WITH_UNIT.match(value) if kind is not None else None
    if found is None or kind is None:
        return
    unit = UNIT[kind].match(found.group(2) or "") or UNIT[kind].search(label)
    bare_number = number(value) is not None
    if unit or (kind not in UNITED and bare_number):
        read = quantity(found.group(1), unit.group(1) if unit else "", kind)
        if read is not None:
            yield Claim(kind, read.value, read.half, value, "table", quote, 0, variant)


def own_name(card: Card, names: tuple[str, ...]) -> str | None:
    """Which of the names is the card's own model: the longest that its title holds."""
    titles = [bare(title) for title in card.document.titles]
    held = [name for name in names if len(bare(name)) >= 4 and any(bare(name) in title for title in titles)]
    return max(held, key=len, default=None)
