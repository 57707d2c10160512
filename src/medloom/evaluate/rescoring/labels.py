"""How people write which option is right: a letter, a number from 0 or from 1, or the option's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...ledger import Refusal
from ..benchmarks import LETTERS
from .records import field

DECISIONS = ("yes", "no", "maybe")
FEW = 10  # as many different right answers pass for a closed set of options
LETTER = re.compile(r"[(\[]?([A-Za-z])[)\].:]*\Z")


@dataclass(frozen=True)
class Options:
    """How many options a question has, and their words where they are known; `lettered` where letters name them."""

    count: int
    texts: tuple[str, ...] | None = None
    lettered: bool = True

    def place(self, value: Any, first: int) -> int | None:
        """The option's number, from 0, that a label stands for, or None; numbers in the file count from `first`."""
        if isinstance(value, list) and len(value) == 1:
            return self.place(value[0], first)
        number = whole(value)
        words = str(value).strip() if isinstance(value, (str, bool)) else ""
        if letter := LETTER.match(words):
            number = LETTERS.index(letter[1].upper())
        elif words and (same := [place for place, text in enumerate(self.texts or ()) if text.strip().casefold() == words.casefold()]):
            return same[0]
        elif number is not None:
            number -= first
        return number if number is not None and 0 <= number < self.count else None


def whole(value: Any) -> int | None:
    """The whole number that a value is or spells, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,9}\s*", value) else None


def options_of(record: Mapping[str, Any], given: str | int, where: str) -> Options:
    """The options of one question. `given` is a number, words or fields parted by commas, or a field with a number, a list or letters.

    Raises Refusal where the field holds none of these.
    """
    if (number := whole(given)) is not None:
        return _counted(number, where)
    given = str(given)
    if "," in given and given not in record:
        parts = [part.strip() for part in given.split(",")]
        if all(part in record for part in parts):
            return Options(len(parts), tuple(str(record[part]) for part in parts))
        return Options(len(parts), tuple(parts), lettered=False)
    value = field(record, given, where)
    if (number := whole(value)) is not None:
        return _counted(number, where)
    if isinstance(value, Mapping):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list) and len(value) > 1:
        return Options(len(value), tuple(map(str, value)))
    raise Refusal(f"{where}: {given} does not hold options; it must be a number, a list of texts, or an object of letters and texts")


def words_of(labels: Sequence[Any]) -> tuple[str, ...]:
    """The different words, without case, that right answers are given by; none where they are letters and numbers."""
    texts = {str(label[0] if isinstance(label, list) and len(label) == 1 else label).strip().casefold() for label in labels}
    return tuple(sorted(text for text in texts if text and whole(text) is None and not LETTER.match(text)))


def worded(count: int, words: Sequence[str]) -> Options:
    """So many options, with their words where those of the right answers can be all of them."""
    if words and set(words) <= set(DECISIONS[:count]) and count <= len(DECISIONS):
        return Options(count, DECISIONS[:count], lettered=False)
    return Options(count, tuple(words), lettered=False) if len(words) == count else Options(count)


def guess_options(labels: Sequence[Any], first: int) -> Options:
    """The options that all right answers of a file together let suppose. Raises Refusal where they let suppose nothing."""
    if words := words_of(labels):
        if set(words) <= set(DECISIONS):
            return worded(3 if "maybe" in words else 2, words)
        if 2 <= len(words) <= FEW:
            return worded(len(words), words)
    elif places := [place for label in labels if (place := Options(len(LETTERS)).place(label, first)) is not None]:
        return Options(max(2, *(place + 1 for place in places)))
    raise Refusal("cannot tell how many options the questions have; say so with --options, by number or by the field that holds them")


def counted_from(labels: Sequence[tuple[Any, Options | None]]) -> int:
    """Whether options are counted from 0 or from 1, told by a 0 or by a number as high as its question has options. Else raises Refusal.

    `labels` holds each label with its question's options where they are known; one that spells an option's words is no number.
    """
    numbers = [(number, options) for label, options in labels if (number := whole(label)) is not None
               and not (isinstance(label, str) and options is not None and label.strip() in (options.texts or ()))]
    if not numbers or any(number == 0 for number, _ in numbers):
        return 0
    if any(options is not None and number == options.count for number, options in numbers):
        return 1
    raise Refusal("cannot tell whether options are counted from 0 or from 1; say so with --first 0 or --first 1")


def _counted(number: int, where: str) -> Options:
    if not 2 <= number <= len(LETTERS):
        raise Refusal(f"{where}: {number} options; a question has from 2 to {len(LETTERS)}")
    return Options(number)
