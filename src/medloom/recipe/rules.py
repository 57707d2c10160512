"""Rules of a source as a recipe states them, and the registry of the sources that have some."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from .part import Part, Positive

REGISTRY = Path(__file__).with_name("guideline_sources.toml")


@dataclass(frozen=True, slots=True)
class GuidelineSource:
    """A source of the registry. `articles` and `tokens` (in thousands) are those of the paper's table 9; `rules` as a recipe has them."""

    name: str
    publisher: str
    address: str
    form: str
    articles: int
    tokens: int
    released: bool
    rules: Mapping[str, Any]


@cache
def registry() -> dict[str, GuidelineSource]:
    """The registered sources by name, in the order of the alphabet."""
    tables = tomllib.loads(REGISTRY.read_text(encoding="utf-8"))
    return {name: GuidelineSource(name=name, **{"rules": {}, **table}) for name, table in sorted(tables.items())}


class Rules(Part):
    """What of a source's documents is not the guideline: cut, or reason to drop the whole document. Applied after the reader, in
    the order given here; phrases and words are matched without regard to case. A name in place of the table, or `like`, starts
    from the rules of that name in the registry (guideline_sources.toml beside this file); keys given beside it replace those.

    A line "begins with" a phrase after its heading marks, bullet and section number. Landmarks are headings and lines of at most 12
    words that are no list item or table row: `start` and `stop` look at these alone, so that a sentence never cuts a text.
    """

    like: str | None = None
    capital_headings: bool = False  # a line in capitals becomes a heading
    start: tuple[str, ...] = ()  # text before the first landmark that begins with one of these is cut, the title apart
    stop: tuple[str, ...] = ()  # text from the first such landmark after the start on is cut
    remove: tuple[str, ...] = ()  # lines that begin with one of these go
    drop_sections: tuple[str, ...] = ()  # sections go whose heading has a word that begins with one of these, with all below it
    min_words_per_line: int = Field(default=0, ge=0)  # shorter lines go; headings, items, table rows and lines with a number apart
    strip_urls: bool = False  # web addresses go, the sentences around them stay
    heading_depth: Positive | None = None  # the highest heading becomes #, none is deeper than this
    drop_if: tuple[str, ...] = ()  # a document of fewer than 150 words with one of these phrases in it is dropped
    min_lines: int = Field(default=0, ge=0)  # a document with fewer lines is dropped
    min_long_lines: int = Field(default=0, ge=0)  # and one with fewer lines of more than 10 words

    @model_validator(mode="before")
    @classmethod
    def _like(cls, given: Any) -> Any:
        table = {"like": given} if isinstance(given, str) else given
        if isinstance(table, Mapping) and isinstance(table.get("like"), str):
            known = registry()
            if table["like"] not in known:
                raise ValueError(f"no rules named {table['like']!r}; known are {', '.join(known)}; or give a table of rules")
            table = {**known[table["like"]].rules, **table}
        return table

    @model_validator(mode="after")
    def _says_something(self) -> Rules:
        for name in ("start", "stop", "remove", "drop_sections", "drop_if"):
            if any(not phrase.strip() for phrase in getattr(self, name)):
                raise ValueError(f"{name} holds an empty phrase, with which every line begins")
        return self
