"""MedQA's form: one JSON object a line with question, options {letter: text} and answer_idx.

Jin et al. 2020, arXiv 2009.13081. The released US test set has 1273 questions, with five options or with four; letters
differ between the two. Reads any number of options from two to twenty-six.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from .benchmark import Item

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def read(path: Path, split: str) -> tuple[Item, ...]:
    """Questions of a .jsonl file, or of `{split}.jsonl` in a folder. Raises Refusal, naming the line, for one that cannot be used."""
    if path.is_dir():
        path = path / f"{split}.jsonl"
    if not path.is_file():
        raise Refusal(f"{path}: no such file; name the MedQA .jsonl file, or a folder that holds {split}.jsonl")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 text ({error}); name the MedQA .jsonl file") from None
    return tuple(_item(line, f"{path}, line {number}", f"{path.stem}-{number:05d}") for number, line in enumerate(lines, 1) if line.strip())


def _item(line: str, where: str, name: str) -> Item:
    try:
        raw: dict[str, Any] = json.loads(line)
        letters = sorted(raw["options"])
        texts = [raw["options"][letter] for letter in letters]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("an option is not a text")
        options = tuple(text.strip() for text in texts)
        answer = letters.index(raw["answer_idx"])
        question = str(raw["question"]).strip()
        "".join((question, *options)).encode()
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise Refusal(f"{where}: not a MedQA question ({type(error).__name__}: {error}); "
                      "each line needs question, options {A: …} and answer_idx, the letter of one option") from None
    if letters != list(LETTERS[:len(letters)]) or len(letters) < 2:
        raise Refusal(f"{where}: options are lettered {', '.join(letters) or 'not at all'}; they must be A, B, … without a gap")
    if not question or not all(options):
        raise Refusal(f"{where}: the question or an option is empty; mend or remove the line")
    return Item(id=str(raw.get("id", name)), question=question, options=options, answer=answer,
                pmid=None if raw.get("pmid") is None else str(raw["pmid"]), group=raw.get("meta_info"))
