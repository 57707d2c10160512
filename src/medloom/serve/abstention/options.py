"""Whether a question asks for one of a few named answers, by the form of its text alone.

Two forms are known: options in a list under letters or numbers, and an instruction to answer yes or no. Free text must not be taken for
a choice, so that whatever is doubtful is none: text that is to be rewritten, a list that more text follows, a numbered list without a word
on choosing, a wish for reasons or for several answers.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "123456789"  # a tenth option's number would begin as the first one's does
LONGEST = 100_000  # characters; a longer text is free text, so that looking at it holds up nobody

# All of these read text whose white space is single, so that none of them can be made to take long.
AT_LINE = re.compile(r"^(?:\(([A-Z1-9])\)|([A-Z1-9])[.)]) (?=\S)", re.MULTILINE)
IN_LINE = re.compile(r"(?<!\S)(?:\(([A-Z1-9])\)|([A-Z1-9])\)) (?=\S)")
LABEL = re.compile(r"\Aquestion:", re.IGNORECASE)
HEADER = re.compile(r"(?:^|[.?:\s])(?:answer )?(?:options|choices)(?: are)?:?\Z", re.IGNORECASE)
CHOOSING = re.compile(r"\b(?:which (?:one )?of the following|which (?:one )?(?:is|option|answer)|choose|select|pick|"
                      r"(?:correct|best|right) (?:answer|option|choice)|(?:one|an?|the) (?:option|choice|letter|number)\b)", re.IGNORECASE)
TASK = re.compile(r"\W*(?:please |kindly |(?:can|could|would|will) you (?:please )?)?(?:(?:summari[sz]e|translate|re-?write|rephrase|"
                  r"paraphrase|proof-?read|edit|explain|describe|discuss|compare|write|draft|create|generate|compose|format|convert|extract|continue|"
                  r"improve|check|review|expand|elaborate)\b|(?:list|sort|order|rank|correct|match|complete) (?:these|this|my|all)\b)",
                  re.IGNORECASE)
# What may follow the options: that an answer is wanted, in few words.
ENDING = re.compile(r"(?:the )?(?:correct |right |best )?(?:answer|choice|option)(?: is)?:?|(?:please )?(?:answer|respond|reply|choose|"
                    r"select|pick|give|write|state|name)\b.*|(?:which|what)\b.*\?", re.IGNORECASE | re.DOTALL)
ENDING_WORDS = 20
REASONS = re.compile(r"\b(?:explain|explanation|why|reasons?|reasoning|rationale|justif\w+|because|steps?|think|elaborate|describe|discuss|"
                     r"each|every|all|both|several|summari[sz]e|translate)\b", re.IGNORECASE)

_QUOTE = "[\"'“”*`]*"
_OR = r" ?(?:[/|]|, ?(?:or |and )?|\bor\b|\band\b) ?"
_YES_NO = rf"{_QUOTE}yes{_QUOTE}{_OR}{_QUOTE}no\b{_QUOTE}(?P<maybe>{_OR}{_QUOTE}maybe\b{_QUOTE})?"
# "Answer yes or no" at the head of a sentence; "(yes/no)" or "Yes, no or maybe?" at the very end; "Yes or no: …" at the beginning.
TOLD = re.compile(rf"(?:^|[.!?:;\n(] ?)(?:please )?(?:answer|respond|reply)(?: (?:only|simply|just|either|in|with|using|by|one|word|of))*"
                  rf" ?[:(]? ?{_YES_NO}(?P<rest>[^.!?\n]*)", re.IGNORECASE)
CLOSING = re.compile(rf"(?:^|[.!?:\n(\[] ?){_YES_NO} ?[)\]]?[?.:]?\Z", re.IGNORECASE)
OPENING = re.compile(rf"\A(?:question: ?)?{_YES_NO} ?[?:,](?= )", re.IGNORECASE)
ANSWER_CUE = re.compile(r"\n(?:the )?answer(?: is)?:?\Z", re.IGNORECASE)
MORE = re.compile(r"(?:^|[.!?\n] ?)(?:and |then |also |please )*(?:explain|justify|give|state|say|describe|tell|why)\b", re.IGNORECASE)


class _Mark(NamedTuple):
    label: str
    start: int
    end: int


def options_of(text: str) -> tuple[str, ...] | None:
    """The labels that a question's answer is one of, in order, or None for free text.

    ("A", "B", …) or ("1", "2", …, at most "9") for options listed at the beginnings of lines as "A. ", "A) " or "(A) ", or on one line as
    "A) " or "(A) "; ("yes", "no") or ("yes", "no", "maybe") for a question that says to answer so. Of several lists the last one counts, as
    after worked examples. Takes time in proportion to the text.
    """
    if len(text) > LONGEST:
        return None
    text = "\n".join(words for line in text.split("\n") if (words := " ".join(line.split())))
    if TASK.match(_asked(text)):
        return None
    for alphabet in (LETTERS, DIGITS):
        for pattern in (AT_LINE, IN_LINE):
            marks = _last_list(pattern, text, alphabet)
            if marks and _is_choice(text, marks, numbered=alphabet is DIGITS, in_line=pattern is IN_LINE):
                return tuple(mark.label for mark in marks)
    return _yes_or_no(text)


def _last_list(pattern: re.Pattern[str], text: str, alphabet: str) -> list[_Mark]:
    """The marks from the last first label on, [] where they do not count up without a gap or are fewer than two."""
    marks = [_Mark(label, found.start(), found.end()) for found in pattern.finditer(text) if (label := found[1] or found[2]) in alphabet]
    first = max((place for place, mark in enumerate(marks) if mark.label == alphabet[0]), default=len(marks))
    found = marks[first:]
    labels = "".join(mark.label for mark in found)
    return found if len(found) >= 2 and alphabet.startswith(labels) else []


def _is_choice(text: str, marks: list[_Mark], *, numbered: bool, in_line: bool) -> bool:
    stem, (last, _, ending) = text[:marks[0].start].rstrip(), text[marks[-1].end:].partition("\n")
    others = [text[one.end:other.start].rstrip() for one, other in pairwise(marks)]
    if last.endswith("?") and not any(other.endswith("?") for other in others):
        return False  # the list is a part of the question
    if not _only_ends(ending) or not _asked(stem):
        return False
    told = HEADER.search(stem) is not None or CHOOSING.search(f"{stem}\n{ending}") is not None
    if in_line:
        return stem.endswith((".", "?", ":")) and (told or "?" in stem)
    return told or (not numbered and (len(marks) >= 3 or stem.endswith(("?", ":"))))


def _asked(stem: str) -> str:
    """The question before its options, without what announces either."""
    return LABEL.sub("", HEADER.sub("", stem)).strip()


def _only_ends(text: str) -> bool:
    text = re.sub(r"\A\W+", "", text)
    return not text or (len(text.split()) <= ENDING_WORDS and ENDING.fullmatch(text) is not None and not REASONS.search(text))


def _yes_or_no(text: str) -> tuple[str, ...] | None:
    asked = ANSWER_CUE.sub("", text)
    found = TOLD.search(asked) or CLOSING.search(asked) or OPENING.search(asked)
    if found is None or REASONS.search(found.groupdict().get("rest") or "") or MORE.search(asked, found.end()):
        return None
    return ("yes", "no", "maybe") if found["maybe"] else ("yes", "no")
