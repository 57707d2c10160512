"""Sections of a Markdown text: its # headings, and what stands below each."""

from __future__ import annotations

import re
from collections.abc import Callable

HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t#]*$")
# A list of references' heading: it may have a number before it and the mark of a note behind it.
REFERENCES = re.compile(r"(?:\d{1,2}\.?\s+)?(?:references?(?: list| cited)?|bibliography|literature cited|works cited)[.:]?"
                        r"\s?[\d*\u2020]{0,2}", re.IGNORECASE)


def heading(line: str) -> tuple[int, str] | None:
    """(level, words) of a heading; None for other lines."""
    found = HEADING.match(line) if line.startswith("#") else None
    return (len(found[1]), found[2]) if found else None


def without_sections(lines: list[str], unwanted: Callable[[str], bool]) -> list[str]:
    """Lines without the sections whose heading's words are unwanted: up to the next heading of their level or above."""
    kept: list[str] = []
    cut_level = 0  # of the heading whose section is being cut
    for line in lines:
        found = heading(line)
        if found and (not cut_level or found[0] <= cut_level):
            cut_level = found[0] if unwanted(found[1]) else 0
        if not cut_level:
            kept.append(line)
    return kept
