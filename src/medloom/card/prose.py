"""The card's text before it is written out: plain words, what is said by others, and figures. No other digit can be written.

Sections are Markdown in which a figure is a token of the trail (`Trail.cite`) and a name or sentence from outside is quoted (`said`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .trail import CLOSE, OPEN, Figure

QUOTE, UNQUOTE = "\ue002", "\ue003"
TERMS = ("95 %", "99th", "CO2", "SHA-256", "CycloneDX 1.6", "v0.2")  # digits that name a thing and measure nothing
_FIGURE = re.compile(f"{OPEN}(\\d+){CLOSE}")
_QUOTED = re.compile(f"{QUOTE}(.*?){UNQUOTE}", re.DOTALL)


class Uncited(ValueError):
    """A figure was to be written that has no key in the ledger."""


@dataclass
class Section:
    """A section of the card: what it says in words, and the tables that bear it out. `key` names it in links."""

    key: str
    title: str
    words: list[str]
    tables: list[str] = field(default_factory=list)


def said(text: object) -> str:
    """Words from outside, a name or what the recipe states, which may hold any digit."""
    return f"{QUOTE}{re.sub(f'[{OPEN}-{UNQUOTE}]', '', str(text))}{UNQUOTE}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table and the blank line after it. Columns of which every cell is a figure or a dash stand at the right."""
    rows = list(rows)
    right = [bool(rows) and all(_FIGURE.match(row[column]) or row[column] == "-" for row in rows) for column in range(len(header))]
    rule = "|".join(" ---: " if number else " --- " for number in right)
    return [f"| {' | '.join(header)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def cited(lines: Sequence[str]) -> None:
    """Raises Uncited where the lines hold a digit that is neither a figure's, nor quoted, nor of a term."""
    for line in lines:
        rest = _QUOTED.sub("", _FIGURE.sub("", line))
        for term in TERMS:
            rest = rest.replace(term, "")
        if re.search(r"\d", re.sub(r"\[\^\d+\]", "", rest)):
            raise Uncited(f"a figure without a key: {rest.strip()}")


def markdown(text: str, figures: Sequence[Figure]) -> str:
    """The text with its figures printed, those that stand alone with their footnotes, and what is quoted kept from breaking a table."""
    def printed(match: re.Match[str]) -> str:
        figure = figures[int(match[1])]
        return f"{figure.printed}[^{figure.mark}]" if figure.alone else figure.printed

    return _FIGURE.sub(printed, quoted(text))


def plain(text: str, figures: Sequence[Figure]) -> str:
    """The text for forms without markup."""
    text = _FIGURE.sub(lambda match: figures[int(match[1])].printed, _QUOTED.sub(r"\1", text))
    return re.sub(r"\[\^\d+\]|\*\*|`", "", text)


def quoted(text: str) -> str:
    """The text with what is quoted written into it, so that it can neither end a cell nor begin a tag."""
    return _QUOTED.sub(lambda match: " ".join(match[1].replace("|", "\\|").replace("<", "&lt;").split()), text)


def linked(html: str, figures: Sequence[Figure]) -> str:
    """HTML in which every figure leads to its row in the table of keys."""
    from html import escape

    def link(match: re.Match[str]) -> str:
        figure = figures[int(match[1])]
        return f'<a class="figure" href="#k{figure.mark}" title="{escape(figure.key)}">{escape(figure.printed)}</a>'

    return _FIGURE.sub(link, html)
