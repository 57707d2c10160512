"""MedQA: licensing examination questions with four or five lettered options, in the forms that they are passed on in.

Jin et al. 2020, arXiv 2009.13081. The released US test set has 1273 questions, with five options or with four; letters differ between
the two. Options may be an object by letter, a list of texts (with or without "A. " before them), a list of {key, value}, or stand
in an instruction's input; the answer may be a letter or the right option's text. Any number of options from two to twenty-six.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .benchmark import LETTERS, Item
from .rows import Row, read_rows

SPLITS = {"test": ("test",), "train": ("train",)}
NEEDS = "a question needs question, options {A: …} and answer_idx, the letter of one option"


def read(path: Path, split: str, part: str | None = None) -> tuple[Item, ...]:
    """Questions of a file, or of a folder's `split`. Raises Refusal, naming line or row, for one that cannot be used."""
    if part is not None:
        raise Refusal(f"{path}: MedQA has no part {part!r}, and none at all; leave `part` out and name the file of four or of five options")
    return tuple(lettered(row, "MedQA") for row in read_rows(path, SPLITS[split]))


def lettered(row: Row, benchmark: str) -> Item:
    """A row with lettered options as an item."""
    try:
        raw = _instruction(row.values)
        letters, options = _options(raw["options"] if "options" in raw else raw["choices"])
        answer = _answer(raw, letters, options)
        question = raw["question"].strip()
        "".join((question, *options)).encode()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(f"{row.where}: not a {benchmark} question ({type(error).__name__}: {error}); {NEEDS}") from None
    if letters != list(LETTERS[:len(letters)]) or len(letters) < 2:
        raise Refusal(f"{row.where}: options are lettered {', '.join(letters) or 'not at all'}; they must be A, B, … without a gap")
    if not question or not all(options):
        raise Refusal(f"{row.where}: the question or an option is empty; mend or remove it")
    return Item(id=str(raw["id"] if raw.get("id") not in (None, "") else row.name), question=question, options=options, answer=answer,
                pmid=said(raw, "pmid"), group=said(raw, "meta_info"), explanation=said(raw, "explanation"))


def said(raw: Mapping[str, Any], field: str) -> str | None:
    """A field's text, or None where it is missing or empty."""
    value = raw.get(field)
    return None if value is None or not str(value).strip() else str(value).strip()


def _instruction(raw: dict[str, Any]) -> dict[str, Any]:
    """A question that stands in an instruction's input, `Question: …`, `Option A: …`, with the right text as output."""
    if "instances" not in raw:
        return raw
    instance = raw["instances"][0] if isinstance(raw["instances"], list) else raw["instances"]
    question, *rest = re.split(r"\n\s*Option ([A-Z]): ?", instance["input"])
    # Their ids are not their own (all a thousand are seed_task_0), and some last options and outputs end in a torn quotation mark.
    texts = [text.removesuffix('\n"') for text in rest[1::2]]
    return {"question": question.removeprefix("Question:"), "options": dict(zip(rest[::2], texts, strict=True)),
            "answer": instance["output"].removesuffix('\n"')}


def _options(raw: Any) -> tuple[list[str], tuple[str, ...]]:
    if isinstance(raw, Mapping):
        pairs = {str(letter): text for letter, text in sorted(raw.items()) if text is not None}  # Arrow fills absent letters with null
    elif raw and isinstance(raw[0], Mapping):
        pairs = {str(pair["key"]): pair["value"] for pair in raw}
        if len(pairs) < len(raw):
            raise ValueError("two options have one letter")
    else:
        marked = all(re.match(rf"{letter}[.):] ", text) for letter, text in zip(LETTERS, raw, strict=False))
        pairs = {letter: text[3:] if marked else text for letter, text in zip(LETTERS[:len(raw)], raw, strict=True)}
    if not all(isinstance(text, str) for text in pairs.values()):
        raise TypeError("an option is not a text")
    return sorted(pairs), tuple(pairs[letter].strip() for letter in sorted(pairs))


def _answer(raw: Mapping[str, Any], letters: list[str], options: tuple[str, ...]) -> int:
    text = raw.get("answer")
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    letter = next((raw[field] for field in ("answer_idx", "correct_answer") if raw.get(field) is not None), None)
    text = text.strip() if isinstance(text, str) else None
    if letter is not None:
        answer = letters.index(letter)
        if text in options and options[answer] != text:
            raise ValueError(f"answer_idx is {letter}, and answer is another option's text")
        return answer
    if text is None:
        raise KeyError("answer_idx")
    if options.count(text) > 1:
        raise ValueError("the answer is the text of two options; say its letter in answer_idx")
    return options.index(text) if text in options else letters.index(text)
