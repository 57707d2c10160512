"""MedMCQA: four options from Indian entrance examinations; its validation split is what models are compared on.

Pal et al. 2022, arXiv 2203.14371. The answers of the test split are withheld. `cop`, the right option, counts from 1 in the authors' JSON
and from 0 in the hub's Parquet; which of the two a file does is told by what it holds, since a wrong guess makes every answer wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .benchmark import Item
from .medqa import lettered, said
from .rows import Row, read_rows

SPLITS = {"test": ("validation", "dev", "val", "test"), "train": ("train",)}
PARTS = ("single", "multi")
FIELDS = ("opa", "opb", "opc", "opd")


def read(path: Path, split: str, part: str | None = None) -> tuple[Item, ...]:
    """Questions of a file, or of a folder's validation (also dev, val) or train split; `part` keeps one choice_type."""
    return examine(path, split, part)[0]


def examine(path: Path, split: str, part: str | None = None) -> tuple[tuple[Item, ...], dict[str, Any]]:
    """What `read` gives, and what `cop` counts from in that split: {"numbering": "from 1" or "from 0" or "letters"}.

    Raises Refusal, naming line or row, for one that cannot be used, and where `cop` does not tell what it counts from.
    """
    if part is not None and part not in PARTS:
        raise Refusal(f"{path}: MedMCQA has no part {part!r}; the known ones are {', '.join(PARTS)}, the question's choice_type")
    rows = read_rows(path, SPLITS[split])
    first = _first(path, rows)
    if part is not None:
        rows = [row for row in rows if row.values.get("choice_type") == part]
    items = tuple(lettered(row, "MedMCQA") if "cop" not in row.values else _item(row, first) for row in rows)
    return items, {"numbering": "letters" if first is None else f"from {first}"}


def _first(path: Path, rows: Sequence[Row]) -> int | None:
    """The number of the first option, or None where answers are letters."""
    numbers: dict[int, str] = {}
    for row in rows:
        cop = row.values.get("cop", "a")
        if isinstance(cop, str) and cop.strip().lower() in ("a", "b", "c", "d"):
            continue
        try:
            numbers.setdefault(int(cop), row.where)
        except (TypeError, ValueError, OverflowError):
            numbers.setdefault(-1, row.where)
    if not numbers:
        return None
    strange = sorted(set(numbers) - set(range(5)))
    if strange:
        raise Refusal(f"{numbers[strange[0]]}: cop is missing or no option's number; MedMCQA's test split withholds its answers, "
                      "so name the validation split (dev.json)")
    if (0 in numbers) == (4 in numbers):
        both = f"both 0 ({numbers[0]}) and 4 ({numbers[4]})" if 0 in numbers else "neither 0 nor 4"
        raise Refusal(f"{path}: cop holds {both}, and so does not tell whether it counts from 0 or from 1; write cop as a, b, c, d")
    return 0 if 0 in numbers else 1


def _item(row: Row, first: int | None) -> Item:
    raw = row.values
    try:
        options = tuple(str(raw[field]).strip() for field in FIELDS)
        question = str(raw["question"]).strip()
        cop = str(raw["cop"]).strip().lower()
        answer = "abcd".index(cop) if cop in ("a", "b", "c", "d") else int(raw["cop"]) - (first or 0)
        "".join((question, *options)).encode()
    except (LookupError, TypeError, ValueError) as error:
        raise Refusal(f"{row.where}: not a MedMCQA question ({type(error).__name__}: {error}); "
                      "a row needs question, opa to opd and cop") from None
    if not question or any(raw[field] is None or not option for field, option in zip(FIELDS, options, strict=True)):
        raise Refusal(f"{row.where}: the question or an option is empty; mend or remove it")
    return Item(id=str(raw.get("id") or row.name), question=question, options=options, answer=answer, explanation=said(raw, "exp"),
                group=said(raw, "subject_name"))
