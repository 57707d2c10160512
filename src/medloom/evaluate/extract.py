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
the D of vitamin D. What follows the model's own next question is not read. An empty text, or one without an answer, gives None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .benchmark import Item
from .phrases import (
    ALONE,
    ANOTHER,
    CALLED,
    CHANGE,
    CUE,
    DENIED,
    DENIED_TEXT,
    FILLER,
    GOES_ON,
    MARKUP,
    NAMING,
    NEXT,
    PLAINER,
    SENTENCE,
)


def read_choice(text: str, item: Item) -> int | None:
    """The number, from 0, of the option that a text answers with; None where it answers with none, or with several."""
    text = text.translate(PLAINER).strip()
    following = NEXT.search(text)
    text = MARKUP.sub("", text[:following.start()] if following else text).strip()
    if not text:
        return None
    return _Reader(item).read(text)


class _Reader:
    """The layers, for one question's options."""

    def __init__(self, item: Item) -> None:
        self.letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:len(item.options)] if item.lettered else ""
        self.options = [_plain(option) for option in item.options]
        self.words = not item.lettered

    def read(self, text: str) -> int | None:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        alone = {self.whole(line) for line in lines} - {None}
        first, last = (self.whole(line) if len(alone) == 1 else None for line in (lines[0], lines[-1]))
        if first is not None and not CHANGE.search(text, len(lines[0])):
            return first
        for layer in (self.stated(text), self.called(text)):
            found = list(layer)
            if found:
                return found[-1]
        opening = self.opening(text)
        if opening is not None:
            return opening
        return last if last is not None else self.only(text) if len(alone) < 2 else None

    def whole(self, line: str) -> int | None:
        """The option, where a line holds nothing else."""
        line = re.sub(r"^(?:option|choice|answer)?\W*|[\s.!]+$", "", line, flags=re.IGNORECASE)
        if self.letters and re.fullmatch(rf"([{self.letters}{self.letters.lower()}])(?:\W+\1)*\W*", line):
            return self.letters.index(line[0].upper())
        plain = _plain(line)
        if plain in self.options:
            return self.options.index(plain)
        if self.letters and line[:1] in self.letters and line[1:2] in tuple(").:,- ") and (rest := _plain(line[1:])):
            option = self.options[self.letters.index(line[0])]
            return self.letters.index(line[0]) if rest == option or (option.startswith(rest) and len(rest) > 3) else None
        return None

    def stated(self, text: str) -> Iterator[int | None]:
        """What stands after every cue; None for two at once."""
        for cue in CUE.finditer(text):
            rest = text[FILLER.match(text, cue.end()).end():]  # type: ignore[union-attr]
            if re.match(r"(?:neither|both)\b", rest, re.IGNORECASE):
                yield None
                continue
            if denial := re.match(r"(?:not|n't|cannot be|isn't)\b", rest, re.IGNORECASE):
                sentence = SENTENCE.match(rest, denial.end())
                turn = re.search(r"\b(?:(?:but|rather|instead)\b[\s,:]*)+", sentence.group()) if sentence else None
                if turn is None:
                    continue
                rest = rest[denial.end() + turn.end():]
                rest = rest[FILLER.match(rest).end():]  # type: ignore[union-attr]
            number, end = self.at(rest)
            if number is None or DENIED.match(rest, end):
                continue
            another = ANOTHER.match(rest, end) if self.letters else None
            if another and another.group(1) in self.letters and another.group(1) != rest[0]:
                yield None
                continue
            more, _ = self.at(re.sub(r"^\W*(?:or|and)\s+", "", rest[end:])) if re.match(r"\W*(?:or|and)\s", rest[end:]) else (None, 0)
            yield None if more not in (None, number) else number

    def at(self, rest: str) -> tuple[int | None, int]:
        """The option that `rest` begins with, by its letter or its text, and where it ends."""
        text = self.text_at(rest)
        if self.letters and (found := re.match(rf"\(?([{self.letters}]){ALONE}", rest)):
            after = rest[found.end():]
            number = self.letters.index(found.group(1))
            named = _plain(after).startswith(self.options[number]) and self.options[number]
            abbreviates = re.match(r"\.\s?[a-z]", after) and not GOES_ON.match(after)
            article = found.group(1) in "AI" and re.match(r"[ \t]+[a-zA-Z0-9]", after) and not GOES_ON.match(after)
            if named or not (abbreviates or article):
                return number, found.end()
        small = rf"\(?([{self.letters.lower()}])(?=[)\].]?\s*(?:$|\n)|[)\]]| (?:because|since)\b)"
        if self.letters and text is None and (found := re.match(small, rest)):
            return self.letters.index(found.group(1).upper()), found.end()
        return (None, 0) if text is None else (text, len(self.options[text]))

    def text_at(self, rest: str) -> int | None:
        plain = _plain(rest[:400])
        fits = [number for number, option in enumerate(self.options)
                if option and re.match(rf"(?:an? |the )?{re.escape(option)}(?!\w)", plain)]
        longest = max(fits, key=lambda number: len(self.options[number]), default=None)
        # "No evidence …" is a sentence, not the answer no.
        if longest is not None and self.words and re.match(r"\w+ (?!or\b)\w", rest) and not GOES_ON.match(rest, len(self.options[longest])):
            return None
        return longest

    def called(self, text: str) -> Iterator[int]:
        """Options that are called right by their letter."""
        if not self.letters:
            return
        letter = rf"\(?([{self.letters}])"
        begins = r"(?:^|[.,;:(\n]\s*|\b(?i:option|choice|answer|that|so|thus|therefore|hence|think|believe|but|and|,) )"
        pattern = rf"{begins}{letter}[).:]?(?:[^.;\n]{{0,80}}?)\s{CALLED}"
        concluded = (rf"\b(?i:so|thus|hence|therefore),? {letter}(?=\)?\s*(?:[.;,]|$))|\bonly {letter}\)? (?:remains|is left|fits)"
                     rf"|\b([{self.letters}])(?:\?\W*(?i:yes)| it is\b|\)?[).:]*\s+(?i:correct|right|yes|true)\b)")
        found = [*re.finditer(pattern, text), *re.finditer(concluded, text, re.MULTILINE)]
        for match in sorted(found, key=re.Match.start):
            named = next(group for group in match.groups() if group)
            if not DENIED.match(text, text.index(named, match.start()) + 1):
                yield self.letters.index(named)

    def opening(self, text: str) -> int | None:
        """The option that the text begins with."""
        if self.letters:
            found = re.match(rf"\(?([{self.letters}])\s*(?:[).:,;-]|\n)", text)
            listed = re.search(rf"\n\s*\(?[{self.letters}][).:]", text)
            several = re.match(rf"\(?[{self.letters}]\)?\s*[,/]\s*\(?[{self.letters}]\b", text)
            if found is None or listed or several or DENIED.match(text, found.end(1)):
                return None
            number = self.letters.index(found.group(1))
            after = text[found.end():]
            sentence = text[found.end() - 1] == "." and re.match(r"\s?[a-z]{3,}", after) and not GOES_ON.match(f" {after.lstrip()}")
            return None if sentence and not _plain(after).startswith(self.options[number][:4]) else number
        found = re.match(r"(\w+)\s*(?:[,.;:!/()-]|$)", text)
        return self.options.index(found.group(1).lower()) if found and found.group(1).lower() in self.options else None

    def only(self, text: str) -> int | None:
        """The one option that is named at all."""
        plain = f" {_plain(text)} "
        if self.words:
            if re.search(rf"\b({'|'.join(self.options)})\b,? (?:or|and) ({'|'.join(self.options)})\b", text, re.IGNORECASE):
                return None
            said = [word for word in self.options
                    if re.search(rf"(?<!not )\b{re.escape(word)}(?=[.,;:!\"')]|\s*$)", text, re.IGNORECASE | re.MULTILINE)
                    and not re.search(rf"\b(?:not|cannot|can't)\b(?:(?!\bbut\b)[^.;\n])*\b{re.escape(word)}\b", text, re.IGNORECASE)]
            return self.options.index(said[0]) if len(said) == 1 else None
        named = {number for number, option in enumerate(self.options) if option and f" {option} " in plain}
        # An option that is part of another one's text is named by that.
        named = {number for number in named if not any(self.options[number] in self.options[other] for other in named - {number})}
        named = {number for number in named if not re.search(DENIED_TEXT.format(re.escape(self.options[number])), plain)}
        return named.pop() if len(named) == 1 else self.letter(text) if not named else None

    def letter(self, text: str) -> int | None:
        """The one letter that stands for itself."""
        named = set()
        for found in re.finditer(rf"(?<![\w.'-])\(?([{self.letters}])(?![\w'-])(?!\.\s?[a-z])", text):
            before, after = text[:found.start()], text[found.end():]
            article = found.group(1) in "AI" and re.match(r"[ \t]+[a-zA-Z0-9]", after) and not GOES_ON.match(after)
            if not (article or NAMING.search(before) or DENIED.match(after)):
                named.add(self.letters.index(found.group(1)))
        return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    """Words alone, in small letters, with one space between them."""
    return " ".join(re.findall(r"[\w%<>+/]+(?:[.,'-]\w+)*", text.casefold()))
