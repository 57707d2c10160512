"""Whether a question asks for one of a few named answers, by the form of its text alone.

Two forms are known: options in a list under letters or numbers, and an instruction to answer yes or no. Free text must not be taken for
a choice, so that whatever is doubtful is none: text that is to be rewritten, a list that more text follows, a numbered list without a word
on choosing, a wish for reasons or for several answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "123456789"  # a tenth option would begin with the first one's token

AT_LINE = re.compile(r"^[ \t]*(?:\((?P<a>[A-Z1-9])\)|(?P<b>[A-Z1-9])[.)])[ \t]+(?=\S)", re.MULTILINE)
IN_LINE = re.compile(r"(?<!\S)(?:\((?P<a>[A-Z1-9])\)|(?P<b>[A-Z1-9])\))[ \t]+(?=\S)")
LABEL = re.compile(r"\A\s*question:", re.IGNORECASE)
HEADER = re.compile(r"(?:^|[.?:\s])(?:answer )?(?:options|choices)(?: are)?:?\s*\Z", re.IGNORECASE)
CHOOSING = re.compile(r"\b(?:which (?:one )?of the following|which (?:one )?(?:is|option|answer)|choose|select|pick|"
                      r"(?:correct|best|right) (?:answer|option|choice)|(?:one|an?|the) (?:option|choice|letter|number)\b)", re.IGNORECASE)
ASKS = re.compile(r"[?:]\s*\Z")
ENDED = re.compile(r"[.?:]\s*\Z|\n\s*\Z")
# What may follow the options: that an answer is wanted, in few words.
ENDING = re.compile(r"(?:the )?(?:correct |right |best )?(?:answer|choice|option)(?: is)?:?|(?:please )?(?:answer|respond|reply|choose|select|pick|"
                    r"give|write|state|name|which|what)\b.*", re.IGNORECASE | re.DOTALL)
ENDING_WORDS = 20
TASK = re.compile(r"\W*(?:please |kindly |(?:can|could|would|will) you (?:please )?)?(?:summari[sz]e|translate|re-?write|rephrase|paraphrase|"
                  r"proof-?read|edit|explain|describe|discuss|compare|write|draft|create|generate|compose|format|convert|extract|continue|"
                  r"improve|check|review|expand|elaborate|(?:list|sort|order|rank|correct|match|complete)(?: (?:these|this|the|my|all))\b)",
                  re.IGNORECASE)
REASONS = re.compile(r"\b(?:explain|explanation|why|reasons?|reasoning|rationale|justif\w+|because|step|steps|think|elaborate|describe|discuss|"
                     r"each|every|all|both|several|summari[sz]e|translate)\b", re.IGNORECASE)

_QUOTE = "[\"'“”‘’*`]*"
_OR = r"\s*(?:/|\||,\s*(?:or|and)?\b|\bor\b|\band\b)\s*"
_YES_NO = rf"{_QUOTE}yes{_QUOTE}{_OR}{_QUOTE}no{_QUOTE}(?P<maybe>{_OR}{_QUOTE}maybe{_QUOTE})?"
# "Answer yes or no", at the head of a sentence; "(yes/no)" and "yes, no or maybe?" where they end the text; "Yes or no:" where it opens it.
TOLD = re.compile(rf"(?:^|[.!?:;\n(]\s*)(?:please\s+)?(?:answer|respond|reply)(?:\s+(?:only|simply|just|either|in|with|using|by|one|word|of))*"
                  rf"\s*[:(]?\s*{_YES_NO}(?P<rest>[^.!?\n]*)", re.IGNORECASE)
CLOSING = re.compile(rf"(?:^|[.!?:\n(\[]\s*){_YES_NO}\s*[)\]]?\s*[?.:]?\s*\Z", re.IGNORECASE)
OPENING = re.compile(rf"\A\s*(?:question:\s*)?{_YES_NO}\s*[?:,](?=\s)", re.IGNORECASE)
ANSWER_CUE = re.compile(r"\s*(?:the )?answer(?: is)?:?\s*\Z", re.IGNORECASE)


class _Mark(NamedTuple):
    label: str
    start: int
    end: int


def options_of(text: str) -> tuple[str, ...] | None:
    """The labels that a question's answer is one of, in order, or None for free text.

    ("A", "B", …) or ("1", "2", …, at most "9") for options listed at the beginnings of lines as "A. ", "A) " or "(A) ", or on one line as "A) "
    or "(A) "; ("yes", "no") or ("yes", "no", "maybe") for a question that says to answer so. Of several lists the last one counts, as
    after worked examples.
    """
    if TASK.match(LABEL.sub("", text)):
        return None
    for alphabet in (LETTERS, DIGITS):
        for pattern in (AT_LINE, IN_LINE):
            marks = _last_list(pattern, text, alphabet)
            if marks and _is_choice(text, marks, numbered=alphabet is DIGITS, in_line=pattern is IN_LINE):
                return tuple(mark.label for mark in marks)
    return _yes_or_no(text)


def _last_list(pattern: re.Pattern[str], text: str, alphabet: str) -> list[_Mark]:
    """The marks of the last list that counts up from the alphabet's first character without a gap, [] where the last marks make none."""
    marks = [mark for mark in _marks(pattern, text) if mark.label in alphabet]
    first = max((place for place, mark in enumerate(marks) if mark.label == alphabet[0]), default=len(marks))
    found = marks[first:]
    return found if len(found) >= 2 and all(mark.label == label for mark, label in zip(found, alphabet, strict=False)) else []


def _marks(pattern: re.Pattern[str], text: str) -> Iterator[_Mark]:
    for found in pattern.finditer(text):
        yield _Mark(found["a"] or found["b"], found.start(), found.end())


def _is_choice(text: str, marks: list[_Mark], *, numbered: bool, in_line: bool) -> bool:
    stem, (last, _, ending) = text[:marks[0].start], text[marks[-1].end:].partition("\n")
    others = [text[one.end:other.start].rstrip() for one, other in pairwise(marks)]
    if last.rstrip().endswith("?") and not any(other.endswith("?") for other in others):
        return False  # the list is a part of the question
    if not _only_ends(ending) or not _asked(stem):
        return False
    told = HEADER.search(stem) is not None or CHOOSING.search(f"{stem}\n{ending}") is not None
    if in_line:
        return ENDED.search(stem) is not None and (told or "?" in stem)
    return told or (not numbered and (len(marks) >= 3 or ASKS.search(stem) is not None))


def _asked(stem: str) -> str:
    """The question before its options, without what announces either."""
    return LABEL.sub("", HEADER.sub("", stem)).strip()


def _only_ends(text: str) -> bool:
    text = text.strip()
    return not re.search(r"\w", text) or (ENDING.fullmatch(text) is not None and len(text.split()) <= ENDING_WORDS
                                          and not REASONS.search(text))


def _yes_or_no(text: str) -> tuple[str, ...] | None:
    asked = ANSWER_CUE.sub("", text)
    found = TOLD.search(asked) or CLOSING.search(asked) or OPENING.search(asked)
    if found is None or REASONS.search(found.groupdict().get("rest") or ""):
        return None
    return ("yes", "no", "maybe") if found["maybe"] else ("yes", "no")
