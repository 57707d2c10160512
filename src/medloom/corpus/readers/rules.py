"""Rules of a source: what of its documents is not the guideline, said as data."""

from __future__ import annotations

import re
from dataclasses import replace

from medloom.recipe import Rules

from ..document import Document, Drop
from .clean import clean
from .sections import heading, without_sections

LANDMARK_WORDS = 12
HEADING_WORDS = 12  # more in capitals is a warning, not a heading
NOTICE_WORDS = 150
LONG_LINE_WORDS = 10

_BULLET_OR_ROW = re.compile(r"\s*(?:[-*+]\s|\|)")
_ITEM_OR_ROW = re.compile(r"\s*(?:[-*+]\s|\||\d{1,3}[.)]\s)")
_LEAD = re.compile(r"[\s#*>_+-]*(?:\d{1,2}(?:\.\d{1,2})*[.)]?\s+)?[\s*_]*")
_ADDRESS = r"(?:https?://|www\.)(?:\([^\s()]*\)|[^\s<>()\[\]|])*"
_LINK = re.compile(rf"\[([^\]\n]*)\]\({_ADDRESS}\)")
_BRACKETED_ADDRESS = re.compile(rf"[ \t]?(?:\({_ADDRESS}\)|\[{_ADDRESS}\]|<{_ADDRESS}>)")
_BARE_ADDRESS = re.compile(rf"[ \t]?{_ADDRESS}(?<![.,;:!?'\"])")


def apply_rules(document: Document, rules: Rules) -> Document | Drop:
    """The document less what the rules cut, or a Drop whose reason is the rule: drop_if, min_lines, min_long_lines, nothing-left."""
    lines = document.text.split("\n")
    title = next((line for line in lines if line.strip()), "")
    opening = [title, ""] if document.title and _begins(title) == document.title.casefold() else []
    if rules.capital_headings:
        lines = [f"# {line}" if _in_capitals(line) else line for line in lines]
    if rules.start:
        place = next((n for n, line in enumerate(lines) if _is_landmark(line, rules.start)), 0)
        lines = [*opening, *lines[place:]] if place else lines
    if rules.stop:
        first = next((n for n, line in enumerate(lines) if line.strip()), 0) + bool(opening)
        place = next((n for n, line in enumerate(lines) if n >= first and _is_landmark(line, rules.stop)), len(lines))
        lines = lines[:place]
    if rules.remove:
        lines = [line for line in lines if not _begins(line).startswith(_folded(rules.remove))]
    if rules.drop_sections:
        unwanted = re.compile(rf"\b(?:{'|'.join(map(re.escape, rules.drop_sections))})", re.IGNORECASE)
        lines = without_sections(lines, lambda words: bool(unwanted.search(words)))
    if rules.min_words_per_line:
        lines = [line for line in lines if not line.strip() or line.startswith("#") or _ITEM_OR_ROW.match(line)
                 or len(line.split()) >= rules.min_words_per_line or any(map(str.isdigit, line))]  # "5 mg" is a dose
    if rules.heading_depth:
        lines = _rebased(lines, rules.heading_depth)
    text = "\n".join(lines)
    text = clean(_without_addresses(text) if rules.strip_urls else text)
    fault = _fault(text, rules)
    if fault is None and text in ("", "\n".join(opening).strip()):
        fault = ("rule-nothing-left", "nothing but the title is left")
    return Drop(document.id, document.source_file, *fault) if fault else replace(document, text=text)


def _fault(text: str, rules: Rules) -> tuple[str, str] | None:
    """Why the document as a whole is not wanted."""
    lines = [line for line in text.split("\n") if line.strip()]
    if rules.drop_if and len(text.split()) < NOTICE_WORDS:
        folded = text.casefold()
        phrase = next((phrase for phrase in rules.drop_if if phrase.casefold() in folded), None)
        if phrase is not None:
            return "rule-drop-if", phrase
    if len(lines) < rules.min_lines:
        return "rule-min-lines", f"{len(lines)} lines, fewer than {rules.min_lines}"
    long = sum(len(line.split()) > LONG_LINE_WORDS for line in lines)
    if long < rules.min_long_lines:
        return "rule-min-long-lines", f"{long} lines of more than {LONG_LINE_WORDS} words, fewer than {rules.min_long_lines}"
    return None


def _begins(line: str) -> str:
    """A line as phrases are held against it: without heading marks, bullet and section number, without case."""
    return _LEAD.sub("", line, count=1).rstrip().casefold()


def _folded(phrases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(phrase.strip().casefold() for phrase in phrases)


def _is_landmark(line: str, phrases: tuple[str, ...]) -> bool:
    if heading(line) is None and (len(line.split()) > LANDMARK_WORDS or _BULLET_OR_ROW.match(line)):
        return False
    return _begins(line).startswith(_folded(phrases))


def _in_capitals(line: str) -> bool:
    return (line.isupper() and sum(map(str.isalpha, line)) >= 3 and len(line.split()) <= HEADING_WORDS
            and heading(line) is None and not _ITEM_OR_ROW.match(line))


def _rebased(lines: list[str], depth: int) -> list[str]:
    """Headings moved so that the highest is #, and none deeper than `depth`."""
    levels = [found[0] for line in lines if (found := heading(line))]
    if not levels:
        return lines
    up = min(levels) - 1
    return [f"{'#' * min(found[0] - up, depth)} {found[1]}" if (found := heading(line)) else line for line in lines]


def _without_addresses(text: str) -> str:
    return _BARE_ADDRESS.sub("", _BRACKETED_ADDRESS.sub("", _LINK.sub(r"\1", text)))
