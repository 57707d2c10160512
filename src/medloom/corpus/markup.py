"""How a paper's structure is written in its text: references, figures, tables and formulas.

Two forms. Plain text, for any tokenizer: "(Title of the cited work, Author)", "Figure 1. Caption". Meditron's form, which puts each
between marks that the original made tokens of its own: "[bib_ref] Title, Author [/bib_ref]" (Chen et al. 2023, arXiv:2311.16079,
section 3 and appendix B).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

MARKS = ("bib_ref", "fig_ref", "bib", "fig", "table", "formula")  # the original's twelve domain tokens: each opens and closes
TITLE_WORDS = 12
_SHORT_NAME = re.compile(r"^(Fig|Tab)(s?)(?:\.\s*|\s+)")
_SENTENCE_END = re.compile(r"[.;:()]")


@dataclass(frozen=True, slots=True)
class Reference:
    """A cited work: its title and the last name of its first author."""

    title: str
    author: str


@dataclass(frozen=True, slots=True)
class Markup:
    """A form. `marked` puts structure between Meditron's marks; `references` False leaves pointers to the literature out."""

    marked: bool = False
    references: bool = True

    def cite(self, works: Sequence[Reference]) -> str:
        """Pointers to the literature, as they stand in a sentence; empty where none could be resolved or none is wanted."""
        words = [f"{_cut(work.title)}, {work.author}" for work in works if work.title and work.author] if self.references else []
        if not words:
            return ""
        return " ".join(_marked("bib_ref", word) for word in words) if self.marked else f"({'; '.join(words)})"

    def point(self, label: str, caption: str) -> str:
        """A pointer to a figure or table: its name; in Meditron's form with the beginning of its caption."""
        if not self.marked:
            return label
        label = _name(label)
        beginning = " ".join(_SENTENCE_END.split(caption, maxsplit=1)[0].split()[:TITLE_WORDS]) if len(caption) > 20 else caption
        return _marked("fig_ref", f"{label}: {beginning}" if beginning else label)

    def figure(self, label: str, caption: str) -> str:
        """A figure, of which a text can hold the name and the caption."""
        return self._float("fig", label, caption, ())

    def table(self, label: str, caption: str, rows: Sequence[str] = ()) -> str:
        """A table: name, caption and rows, a line each (cells between bars, then what stands below the table)."""
        return self._float("table", label, caption, rows)

    def formula(self, text: str) -> str:
        """A displayed formula on its own line."""
        return _marked("formula", text) if self.marked and text else text

    def _float(self, mark: str, label: str, caption: str, rows: Sequence[str]) -> str:
        name = _name(label) if self.marked else label.rstrip(".: ")
        head = f"{name}: {caption}" if self.marked and name and caption else f"{name}. {caption}" if name else caption
        text = "\n".join(line for line in (" ".join(head.split()), *rows) if line)
        return _marked(mark, text) if self.marked and text else text


PLAIN = Markup()


def _marked(mark: str, words: str) -> str:
    return f"[{mark}] {words} [/{mark}]"


def _name(label: str) -> str:
    """A figure's or table's name in full, as Meditron's text has it: "Figure 1" for "Fig. 1."."""
    return _SHORT_NAME.sub(lambda found: f"{'Figure' if found[1] == 'Fig' else 'Table'}{found[2]} ", label.strip().rstrip(".: "))


@lru_cache(4096)  # a work is cited again and again
def _cut(title: str) -> str:
    words = title.rstrip(". ").split()
    return " ".join(words[:TITLE_WORDS]) + ("..." if len(words) > TITLE_WORDS else "")
