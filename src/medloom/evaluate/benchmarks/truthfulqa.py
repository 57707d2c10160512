"""TruthfulQA's medical part: the 99 questions of Health, Nutrition, Psychology and Science.

Lin et al. 2022, arXiv 2109.07958. mc_task.json (or the hub's multiple_choice) holds the options, TruthfulQA.csv (or the hub's
generation) the categories; there is no training split. MC1 has one true option, MC2 several; "binary" is the question form of the
2025 revision, the best answer against the best incorrect one. The files list true options first; here options stand in the order
of their SHA-256, taken together with the question, so that no position is favoured and every run sees the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .benchmark import Item
from .rows import Row, has_split, read_file, read_rows

MEDICAL = ("Health", "Nutrition", "Psychology", "Science")
OPTIONS, CATEGORIES = "mc_task.json", "TruthfulQA.csv"
PARTS = ("mc1", "mc2", "binary")
BEST, WORST = "Best Answer", "Best Incorrect Answer"


def read(path: Path, split: str, part: str | None = None) -> tuple[Item, ...]:
    """The medical questions of a folder with `*mc_task.json` and, under the same prefix, `*TruthfulQA.csv`, or of either file.

    A copy of the hub's repository, with multiple_choice/ and generation/, will do as well; "binary" needs the CSV alone. Raises
    Refusal where one is missing, a question of the one is not in the other, or has no true option.
    """
    if split != "test":
        raise Refusal(f"{path}: TruthfulQA has no training questions; leave `train` out and set shots = 0")
    if part is not None and part not in PARTS:
        raise Refusal(f"{path}: TruthfulQA has no part {part!r}; the known ones are {', '.join(PARTS)}")
    if part == "binary":
        return _binary(path)
    targets = f"{part or 'mc1'}_targets"
    if has_split(path / "multiple_choice", "validation"):
        prefix, origin = "", path / "multiple_choice"
        rows, told = read_rows(origin, ("validation",)), read_rows(path / "generation", ("validation",))
        category = {_text(row, "question"): _text(row, "category") for row in told}
    else:
        prefix, origin, categories = _pair(path)
        rows = read_file(origin)
        category = {_text(row, "Question"): _text(row, "Category") for row in read_file(categories)}
    items = []
    for number, row in enumerate(rows):
        question = _text(row, "question")
        if question not in category:
            raise Refusal(f"{row.where}: {question!r} has no category in the file that lies beside; take both from one release")
        if category[question] in MEDICAL:
            items.append(_item(row, question, _targets(row, targets), f"{prefix}truthfulqa-{number:04d}", category[question],
                               several=part == "mc2"))
    return tuple(items)


def _pair(path: Path) -> tuple[str, Path, Path]:
    """The prefix of a release, its options and its categories."""
    if path.is_dir():
        found = sorted(path.glob(f"*{OPTIONS}"))
        if len(found) != 1:
            raise Refusal(f"{path}: holds {len(found)} files *{OPTIONS}, and one is needed; name the file itself")
        path = found[0]
    if not path.name.endswith((OPTIONS, CATEGORIES)):
        raise Refusal(f"{path}: not a TruthfulQA file; name the folder that holds {OPTIONS} and {CATEGORIES}, or one of the two")
    prefix = path.name.removesuffix(OPTIONS).removesuffix(CATEGORIES)
    options, categories = path.with_name(prefix + OPTIONS), path.with_name(prefix + CATEGORIES)
    for needed in (options, categories):
        if not needed.is_file():
            raise Refusal(f"{needed}: no such file; {OPTIONS} and {CATEGORIES} of one release must lie together")
    return prefix, options, categories


def _binary(path: Path) -> tuple[Item, ...]:
    files = sorted(path.glob(f"*{CATEGORIES}")) if path.is_dir() else [path]
    for file in files:
        rows = read_file(file) if file.is_file() else []
        if rows and WORST in rows[0].values:
            return tuple(_item(row, _text(row, "Question"), {_text(row, BEST): 1, _text(row, WORST): 0}, f"truthfulqa-2025-{number:04d}",
                               _text(row, "Category"), False)
                         for number, row in enumerate(rows) if _text(row, "Category") in MEDICAL)
    raise Refusal(f"{path}: has no {CATEGORIES} with the column {WORST}, which part = \"binary\" needs; take that of the 2025 revision")


def _text(row: Row, field: str) -> str:
    value = row.values.get(field)
    if not isinstance(value, str) or not value.strip():
        raise Refusal(f"{row.where}: not a TruthfulQA question: {field} is missing or empty; fetch the file again")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Refusal(f"{row.where}: {field} is not text that can be written ({error}); fetch the file again") from None
    return value.strip()


def _targets(row: Row, field: str) -> dict[str, int]:
    raw: Any = row.values.get(field)
    try:
        if isinstance(raw, Mapping) and set(raw) == {"choices", "labels"}:  # the hub's form
            raw = dict(zip(raw["choices"], raw["labels"], strict=True))
        "".join(raw).encode()
        return {str(option).strip(): int(value) for option, value in raw.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise Refusal(f"{row.where}: not a TruthfulQA question ({type(error).__name__}: {error}); "
                      f"it needs {field}, {{option: 0 or 1}}") from None


def _item(row: Row, question: str, targets: dict[str, int], name: str, group: str, several: bool) -> Item:
    ordered = sorted(targets, key=lambda option: hashlib.sha256(f"{question}\0{option}".encode()).digest())
    true = tuple(place for place, option in enumerate(ordered) if targets[option] == 1)
    if not true or len(true) == len(targets) or (len(true) > 1 and not several):
        raise Refusal(f"{row.where}: {question!r} has {len(true)} true of {len(targets)} options; it needs "
                      f"{'true ones' if several else 'one true'} and one false at least")
    return Item(id=name, question=question, options=tuple(ordered), answer=true[0], group=group, true=true if several else ())
