"""Reading the answer out of what a model wrote.

A text is read in layers, and the first that finds an answer decides; in each the last finding counts, as models change their minds:

1. the first line is nothing but an answer: `C`, `(C)`, `C. Metformin`, `Metformin`
2. it is stated: `the answer is`, `final answer:`, `I choose`, `actually`, …, followed by a letter or an option's text
3. an option is called right: `C is correct`, `option C fits best`
4. the text begins with a letter and a mark after it: `C) because …`
5. the last line is nothing but an answer
6. one option alone is named, by its text or as `(C)` or `option C`

Denied letters (`not B but C`, `A is wrong`) are passed over; two at once (`A or C`, `both A and C`) are no answer. Letters count as
capitals, small ones only with a bracket or alone at the end of what is stated: `a beta blocker` names no option, nor does `E. coli`, nor
the D of vitamin D. What a model thinks aloud before `</think>` is not read if something follows, nor what follows its own next question.
The wordings that count stand in `wording`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator

from ..benchmarks import Item
from . import wording


def read_choice(text: str, item: Item) -> int | None:
    """The number, from 0, of the option that a text answers with; None where it answers with none or with several, or holds nothing."""
    text = _answering(text.translate(wording.PLAINER).strip())
    following = wording.NEXT.search(text)
    text = wording.BOXED.sub(" answer: ", text[:following.start()] if following else text)
    text = wording.MARKUP.sub("", text).strip()
    if not text:
        return None
    return (_Lettered(item) if item.lettered else _Words(item)).read(text)


class _Reader(ABC):
    """The layers, for one question's options. `read` wants a text that holds something; the layers find nothing in an empty one."""

    def __init__(self, item: Item) -> None:
        self.options = [_plain(option) for option in item.options]

    def read(self, text: str) -> int | None:
        """The answer by the first layer that has one."""
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        alone = {self.whole(line) for line in lines} - {None}
        first, last = (self.whole(line) if len(alone) == 1 else None for line in (lines[0], lines[-1]))
        if first is not None and not wording.CHANGE.search(text, len(lines[0])):
            return first
        for layer in (self.stated, self.called):
            if found := list(layer(text)):
                return found[-1]
        opening = self.opening(text)
        if opening is not None:
            return opening
        if last is not None:
            return last
        return self.only(text) if len(alone) < 2 else None

    def whole(self, line: str) -> int | None:
        """The option, where a line holds nothing else."""
        return self.bare(re.sub(r"^(?:option|choice|answer)?\W*|[\s.!]+$", "", line, flags=re.IGNORECASE))

    def bare(self, line: str) -> int | None:
        """The option that a line is, without what stands around it."""
        plain = _plain(line)
        return self.options.index(plain) if plain in self.options else None

    def stated(self, text: str) -> Iterator[int | None]:
        """What stands after every cue; None for two at once, nothing where it is denied or no option."""
        for cue in wording.CUE.finditer(text):
            rest = _skip_filler(text[cue.end():])
            if wording.BOTH.match(rest):
                yield None
                continue
            if wording.NOT.match(rest):
                rest = _after_turn(rest)
            if wording.LISTED.match(rest):
                continue
            number, end = self.at(rest)
            if number is not None and not wording.DENIED.match(rest, end):
                yield None if self.another(rest, number, end) else number

    def at(self, rest: str) -> tuple[int | None, int]:
        """The option that `rest` begins with, and where it ends; (None, 0) where it begins with none."""
        number = self.text_at(rest)
        return (None, 0) if number is None else (number, len(self.options[number]))

    def text_at(self, rest: str) -> int | None:
        """The option whose text `rest` begins with, the longest of several."""
        plain = _plain(rest[:400])
        fits = [number for number, option in enumerate(self.options)
                if option and re.match(rf"(?:an? |the )?{re.escape(option)}(?!\w)", plain)]
        return max(fits, key=lambda number: len(self.options[number]), default=None)

    def another(self, rest: str, number: int, end: int) -> bool:
        """Whether a second option stands beside the one that ends at `end`: "A or C"."""
        if not re.match(r"\W*(?:or|and)\s", rest[end:]):
            return False
        more, _ = self.at(re.sub(r"^\W*(?:or|and)\s+", "", rest[end:]))
        return more not in (None, number)

    def called(self, text: str) -> Iterator[int]:
        """Options that are called right by their letter."""
        yield from ()

    @abstractmethod
    def opening(self, text: str) -> int | None:
        """The option that the text begins with."""

    @abstractmethod
    def only(self, text: str) -> int | None:
        """The one option that is named at all."""


class _Lettered(_Reader):
    """Options listed under letters, answered by a letter or by their text."""

    def __init__(self, item: Item) -> None:
        super().__init__(item)
        self.letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:len(item.options)]

    def pattern(self, pattern: str, *, small: bool = False) -> str:
        return wording.for_letters(pattern, self.letters.lower() if small else self.letters)

    def bare(self, line: str) -> int | None:
        if re.fullmatch(rf"([{self.letters}{self.letters.lower()}])(?:\W+\1)*\W*", line):
            return self.letters.index(line[0].upper())
        number = super().bare(line)
        if number is None and line[:1] in self.letters and line[1:2] in tuple(").:,- ") and (rest := _plain(line[1:])):
            # An option's text may be cut short, a question's tokens being limited.
            option = self.options[self.letters.index(line[0])]
            return self.letters.index(line[0]) if rest == option or (option.startswith(rest) and len(rest) > 3) else None
        return number

    def at(self, rest: str) -> tuple[int | None, int]:
        found = re.match(self.pattern(r"\(?(LETTER)(?!\w|'\w)"), rest)
        if found and self.stands_for_itself(found, rest[found.end():]):
            return self.letters.index(found.group(1)), found.end()
        number, end = super().at(rest)
        small = re.match(self.pattern(r"\(?(LETTER)(?=[)\].]?\s*(?:$|\n)|[)\]]| (?:because|since)\b)", small=True), rest)
        if number is None and small:
            return self.letters.index(small.group(1).upper()), small.end()
        return number, end

    def stands_for_itself(self, found: re.Match[str], after: str) -> bool:
        """Whether a letter is no article (`A patient`) and no genus (`E. coli`); its own option's text may follow."""
        option = self.options[self.letters.index(found.group(1))]
        if option and _plain(after).startswith(option):
            return True
        abbreviates = re.match(r"\.\s?[a-z]", after) and not wording.GOES_ON.match(after)
        return not (abbreviates or _article(found.group(1), after))

    def another(self, rest: str, number: int, end: int) -> bool:
        beside = wording.ANOTHER.match(rest, end)
        if beside and beside.group(1) in self.letters and beside.group(1) != rest[0]:
            return True
        return super().another(rest, number, end)

    def called(self, text: str) -> Iterator[int]:
        found = [*re.finditer(self.pattern(wording.CALLED), text), *re.finditer(self.pattern(wording.CONCLUDED), text, re.MULTILINE)]
        for match in sorted(found, key=re.Match.start):
            letter = next(group for group in match.groups() if group)
            if not wording.DENIED.match(text, text.index(letter, match.start()) + 1):
                yield self.letters.index(letter)

    def opening(self, text: str) -> int | None:
        found = re.match(self.pattern(r"\(?(LETTER)\s*(?:[).:,;-]|\n)"), text)
        listed = re.search(self.pattern(r"\n\s*\(?LETTER[).:]"), text)
        several = re.match(self.pattern(r"\(?LETTER\)?\s*[,/]\s*\(?LETTER\b"), text)
        if found is None or listed or several or wording.DENIED.match(text, found.end(1)):
            return None
        number, after = self.letters.index(found.group(1)), text[found.end():]
        genus = found.group().endswith(".") and re.match(r"\s?[a-z]{3,}", after) and not wording.GOES_ON.match(f" {after.lstrip()}")
        return None if genus and not _plain(after).startswith(self.options[number][:4]) else number

    def only(self, text: str) -> int | None:
        plain = f" {_plain(text)} "
        named = {number for number, option in enumerate(self.options) if option and f" {option} " in plain}
        # An option that is part of another one's text is named by that.
        named = {number for number in named if not any(self.options[number] in self.options[other] for other in named - {number})}
        named = {number for number in named if not re.search(wording.DENIED_TEXT.format(re.escape(self.options[number])), plain)}
        named = named or self.letters_in(text)
        return named.pop() if len(named) == 1 else None

    def letters_in(self, text: str) -> set[int]:
        """The options whose letters stand for themselves and are not denied."""
        named = set()
        for found in re.finditer(self.pattern(r"(?<![\w.'-])\(?(LETTER)(?![\w'-])(?!\.\s?[a-z])"), text):
            after = text[found.end():]
            if not (_article(found.group(1), after) or wording.NAMING.search(text[:found.start()]) or wording.DENIED.match(after)):
                named.add(self.letters.index(found.group(1)))
        return named


class _Words(_Reader):
    """Options that are themselves the answers: yes, no, maybe."""

    def text_at(self, rest: str) -> int | None:
        number = super().text_at(rest)
        # "No evidence …" is a sentence, not the answer no.
        if number is not None and re.match(r"\w+ (?!or\b)\w", rest) and not wording.GOES_ON.match(rest, len(self.options[number])):
            return None
        return number

    def opening(self, text: str) -> int | None:
        found = re.match(r"(\w+)\s*(?:[,.;:!/()-]|$)", text)
        return self.options.index(found.group(1).lower()) if found and found.group(1).lower() in self.options else None

    def only(self, text: str) -> int | None:
        # "Yes or no?" asks once more, "yes or no" does not choose.
        either = "|".join(self.options)
        if re.search(rf"\b({either})\b,? (?:or|and) ({either})\b(?!\?)", text, re.IGNORECASE):
            return None
        said = [number for number, word in enumerate(self.options) if self.says(text, re.escape(word))]
        return said[0] if len(said) == 1 else None

    def says(self, text: str, word: str) -> bool:
        """Whether a word ends a clause somewhere and is nowhere denied."""
        denied = re.search(rf"\b(?:not|cannot|can't)\b(?:(?!\bbut\b)[^.;\n])*\b{word}\b", text, re.IGNORECASE)
        return not denied and bool(re.search(rf"(?<!not )\b{word}(?=[.,;:!\"')]|\s*$)", text, re.IGNORECASE | re.MULTILINE))


def _answering(text: str) -> str:
    """What follows the last thinking aloud; all of the text where nothing follows."""
    *_, after = wording.THOUGHT.split(text)
    return after.strip() or text


def _article(letter: str, after: str) -> bool:
    """Whether a letter is a word of its sentence, the article or the pronoun: `A patient`, `A 54-year-old`, `I think`."""
    return letter in "AI" and bool(re.match(r"[ \t]+[a-zA-Z0-9]", after)) and not wording.GOES_ON.match(after)


def _skip_filler(rest: str) -> str:
    found = wording.FILLER.match(rest)
    return rest[found.end():] if found else rest


def _after_turn(rest: str) -> str:
    """What a denial turns to in its sentence (`not B but C`), empty where it does not turn."""
    denial = wording.NOT.match(rest)
    sentence = wording.SENTENCE.match(rest, denial.end()) if denial else None
    turn = wording.TURN.search(sentence.group()) if sentence else None
    return _skip_filler(rest[sentence.start() + turn.end():]) if sentence and turn else ""


def _plain(text: str) -> str:
    """Words alone, in small letters, with one space between them; of an empty text the empty text."""
    return " ".join(re.findall(r"[\w%<>+/]+(?:[.,'-]\w+)*", text.casefold()))
