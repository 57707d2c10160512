"""Pointers in running text: where a paper's sentence points at the literature, the cited works are written instead.

A reader puts `pointer(ids, words)` where a pointer stood and gives the whole paragraph to `resolve`: only there is it seen that
"[1], [3]-[7]" is one group, that brackets stand round it, and what must go with it when nothing can be written in its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from ..markup import Markup, Reference
from .references import References

# A pointer in the text: its ids, then the words that stood there. Of the characters that XML allows none is less likely in a paper
# (no encoding of Windows has them), and `clean` drops them.
_OPEN, _WORDS, _CLOSE = "\x81", "\x8d", "\x8f"
_DASHES = "\\-\u2010-\u2015\u2212"
_POINTER = re.compile(f"{_OPEN}([^{_WORDS}]*){_WORDS}([^{_CLOSE}]*){_CLOSE}([^{_OPEN}]*)")
_ONE = f"{_OPEN}[^{_WORDS}{_CLOSE}]*{_WORDS}[^{_CLOSE}]*{_CLOSE}"
_GROUP = re.compile(rf"{_OPEN}([^{_WORDS}{_CLOSE}]*){_WORDS}([^{_CLOSE}]*){_CLOSE}((?:[\s,;&\[\]{_DASHES}]*(?:and\s+)?{_ONE})*)")
_RANGE = re.compile(rf"[\s\[\]\d]*[{_DASHES}][\s\[\]\d]*$")
# A number, a year, a letter or a sign says nothing once its note or reference is elsewhere; a name does.
_NO_NAME = re.compile(rf"[\s\[\](),;.*\u2020\u2021\u00a7\d{_DASHES}]*[a-z]?$")
_SEPARATORS = re.compile(r"[\s,;]*")
_CLOSING = re.compile(r"\s*([\])])")
_PAIRS = {"]": "[", ")": "("}
_OPENING, _STOPS = frozenset("[("), frozenset(".,;:")


def pointer(ids: str, words: str) -> str:
    """What stands in a text for a pointer, until `resolve`. `ids` are separated by spaces; none for a pointer to a note."""
    return f"{_OPEN}{ids}{_WORDS}{words}{_CLOSE}"


def resolve(text: str, references: References, markup: Markup) -> str:
    """The text with the works in place of the pointers: "shown [1,2]." becomes "shown (One, Smith; Two, Jones).".

    A name in a sentence stays, before its work: "as Smith (2001) (One, Smith) says". What cannot be resolved, or is not wanted,
    goes with its brackets, unless it is a name.
    """
    if _OPEN not in text:
        return text
    done: list[str] = []
    place = 0
    for group in _GROUP.finditer(text):
        ids, words, more = group.groups()
        pointers = _POINTER.findall(group[0]) if more else [(ids, words, "")]
        names = [words for _, words, _ in pointers if _is_name(words)]
        start, end = group.span()
        before, end, bracketed = _unbracketed(text[place:start], text, end)
        if bracketed or not names:
            cited = markup.cite(_cited(pointers, references))
            if cited or not names:
                while done and not before.strip():
                    before = done.pop() + before
                before = _joined(before, cited, text, end)
                done.append(before)
                place = end
                if not cited and before[-1:] in _OPENING:
                    place = _SEPARATORS.match(text, end).end()  # type: ignore[union-attr]  # it matches the empty string
                continue
        done.append(text[place:start])
        for ids, words, between in pointers:
            cited = "" if bracketed else markup.cite(_cited([(ids, words, "")], references))
            name = words if bracketed or _is_name(words) else ""
            done.append(f"{name} {cited}".strip() + between)
        place = group.end()
    done.append(text[place:])
    return "".join(done)


@lru_cache(4096)  # most are small numbers
def _is_name(words: str) -> bool:
    return not _NO_NAME.match(words)


def _unbracketed(before: str, text: str, end: int) -> tuple[str, int, bool]:
    """The text before a group without the brackets that open there and close right behind it, where it goes on, whether there were any."""
    bracketed = False
    while (close := _CLOSING.match(text, end)) and (left := before.rstrip())[-1:] == _PAIRS[close[1]]:
        before, end, bracketed = left[:-1], close.end(), True
    return before, end, bracketed


def _cited(pointers: Sequence[tuple[str, str, str]], references: References) -> Sequence[Reference]:
    """The works that a group points at, each once; of a range all between its ends."""
    if len(pointers) == 1 and " " not in pointers[0][0]:
        return references.works(pointers[0][0])
    found: list[str] = []
    through = False
    for ids, words, between in pointers:
        names: Sequence[str] = ids.split()
        if len(names) == 2 and _RANGE.match(words):
            names = references.between(*names)
        if through and found and names:
            found += references.between(found[-1], names[0])
        found += names
        through = between != "" and _RANGE.match(between) is not None
    return [work for id in dict.fromkeys(found) for work in references.works(id)]


def _joined(before: str, cited: str, text: str, end: int) -> str:
    """The text before a group and what is written for it, spaced for what follows in `text` at `end`."""
    left, after = before.rstrip(), text[end : end + 2]
    touching, after_one = len(left) == len(before), after[:1]
    if not cited:
        if after_one in _PAIRS:
            left = left.rstrip(",; ")
        elif after_one in _STOPS and left.endswith(after_one):
            left = left[:-1]
        return left if touching or not (after_one.isalnum() or left.endswith("|")) else f"{left} "  # the bar of a cell
    stop = ""
    # A raised number stands behind the stop of its sentence; words belong before it. A small letter after a point: it was "et al.".
    if touching and left[-1:] in _STOPS and (not after or after_one.isspace()) and not (left[-1] == "." and after[1:].islower()):
        left, stop = left[:-1], left[-1]
    space = " " if left and left[-1] not in _OPENING else ""
    return f"{left}{space}{cited}{stop}{' ' if after_one.isalnum() or after_one in _OPENING else ''}"
