"""MMLU's medical subjects: four options, from CSV files without a header or from the hub's Parquet.

Hendrycks et al. 2021, arXiv 2009.03300. Nine subjects have 1871 test questions; six of them, 1089, are what MIRAGE (arXiv 2402.13178) and
lm-evaluation-harness call its medical part. The five `dev` questions of each subject may be learned from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .benchmark import Item
from .rows import Row, locate, read_file, read_rows

SIX = ("anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics", "professional_medicine")
NINE = (*SIX, "high_school_biology", "nutrition", "virology")
FIELDS = ("question", "A", "B", "C", "D", "answer")


def read(path: Path, split: str, part: str | None = None) -> tuple[Item, ...]:
    """The questions of nine subjects, of `part` "six", or of the one subject that `part` names, in or outside medicine.

    `path` holds `test/anatomy_test.csv`, `anatomy_test.csv`, `anatomy/test-00000-of-00001.parquet`, or one table whose column subject
    tells them apart (the hub's `all`); or it is such a file. Raises Refusal for a subject that is not there, and for a row that
    cannot be used, naming it.
    """
    split = "dev" if split == "train" else split
    found = _by_subject(path, split)
    if path.is_file() and list(found) == [_subject(path, split)] and part is None:
        wanted: tuple[str, ...] = tuple(found)
    else:
        wanted = {None: NINE, "six": SIX}.get(part) or (str(part),)
    missing = [subject for subject in wanted if subject not in found]
    if missing:
        there = ", ".join(sorted(found)) or "none"
        raise Refusal(f"{path}: holds no {split} questions of {', '.join(missing)}, but of: {there}. `part` may be six ({', '.join(SIX)}) "
                      "or one subject that is there; left out it means these six, high_school_biology, nutrition and virology")
    return tuple(_item(row, subject, number) for subject in wanted for number, row in enumerate(found[subject], 1))


def _by_subject(path: Path, split: str) -> dict[str, list[Row]]:
    if path.is_dir():
        files = {_subject(file, split): file for folder in (path, path / split) for file in sorted(folder.glob(f"*_{split}.csv"))}
        if files:
            return {subject: read_file(file, FIELDS) for subject, file in files.items()}
        folders = {folder.name: folder for folder in sorted(path.iterdir())
                   if folder.is_dir() and any(folder.glob(f"{split}*")) and folder.name not in ("all", "data", split, "auxiliary_train")}
        if folders:
            return {subject: read_rows(folder, (split,), FIELDS) for subject, folder in folders.items()}
        path = path / "all" if (path / "all").is_dir() else path
    found: dict[str, list[Row]] = {}
    for file in locate(path, (split,)):
        for row in read_file(file, FIELDS):
            found.setdefault(str(row.values.get("subject") or _subject(file, split)), []).append(row)
    return found


def _subject(file: Path, split: str) -> str:
    return file.stem.removesuffix(f"_{split}")


def _item(row: Row, subject: str, number: int) -> Item:
    raw = row.values
    try:
        texts = raw["choices"] if "choices" in raw else [raw[letter] for letter in "ABCD"]
        options = tuple(str(text).strip() for text in texts)
        question = str(raw["question"]).strip()
        answer = _answer(raw["answer"])
        options[answer], "".join((question, *options)).encode()
    except (LookupError, TypeError, ValueError) as error:
        raise Refusal(f"{row.where}: not an MMLU question ({type(error).__name__}: {error}); a row needs the question, four options and "
                      "the answer, A to D or 0 to 3") from None
    if not question or not all(options):
        raise Refusal(f"{row.where}: the question or an option is empty; mend or remove it")
    return Item(id=f"{subject}-{number:04d}", question=question, options=options, answer=answer, group=subject)


def _answer(raw: Any) -> int:
    text = str(raw).strip()
    place = "ABCD".find(text) if len(text) == 1 and text.isalpha() else int(text)
    if place not in range(4):
        raise ValueError(f"the answer is {raw!r}")
    return place
