"""A card read: its document, its tables, and all that it states in numbers.

Numbers of prose are known by the words around them (`sentences`), numbers of tables and settings by their labels (`cells`). What no
pattern knows is not audited: silence of the audit proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .cells import claims_of_table, kind_of, labelled
from .claims import Card, Claim
from .document import Document, parse_document, read_document
from .front import emissions_grams, index_tables
from .quantity import quantity
from .sentences import claims_of_prose


def read_card(path: Path) -> Card:
    """Read a card in Markdown, plain text or HTML. Raises Refusal where it is no text."""
    return _card(read_document(path))


def parse_card(text: str) -> Card:
    """Claims and tables of a card's text."""
    return _card(parse_document(text))


def _card(document: Document) -> Card:
    tables = (*document.tables, *index_tables(document.front))
    claims = [*_from_front(document.front), *(claim for table in document.tables for claim in claims_of_table(table)),
              *_from_settings(document), *_from_cells(document), *sorted(claims_of_prose(document), key=lambda claim: claim.start)]
    return Card(document, tables, tuple(claims))


def _from_front(front: Mapping[str, Any]) -> Iterator[Claim]:
    grams = emissions_grams(front)
    if grams is not None and grams > 0:
        found = quantity(repr(grams), "g", "carbon")
        if found:
            yield Claim("carbon", found.value, found.half, f"{grams:g} g", "front", f"co2_eq_emissions: {grams:g} (the hub reads grams)")


def _from_settings(document: Document) -> Iterator[Claim]:
    """Lines "key: value". Of several stages that a card describes each line is of one: they are not told apart."""
    for label, value in document.settings:
        yield from labelled(label, value, "", f"{label}: {value}"[:300])


def _from_cells(document: Document) -> Iterator[Claim]:
    """Rows of two cells whose label is of no kind are read like sentences: "Hardware | 64x A100", "Parallelism | DP 16, TP 4"."""
    lines = [f"{row[0]}: {row[1]}." for table in document.tables if len(table.header) in (0, 2) for row in (table.header, *table.rows[:200])
             if len(row) == 2 and not kind_of(row[0]) and re.search(r"\d", row[1])]
    for claim in claims_of_prose(replace(document, prose="\n".join(lines))):
        yield replace(claim, place="prose" if claim.kind == "tokens" else "table")
