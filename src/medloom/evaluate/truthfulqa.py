"""TruthfulQA's medical part: the 99 questions of Health, Nutrition, Psychology and Science, as MC1 (one true option).

Lin et al. 2022, arXiv 2109.07958. mc_task.json holds the options, TruthfulQA.csv the categories; there is no training
split. In mc_task.json the true option always comes first; here options stand in the order of their SHA-256, taken together
with the question, so that no position is favoured and every run sees the same order.
"""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

from ..ledger import Refusal
from .benchmark import Item

MEDICAL = ("Health", "Nutrition", "Psychology", "Science")
OPTIONS, CATEGORIES = "mc_task.json", "TruthfulQA.csv"


def read(path: Path, split: str) -> tuple[Item, ...]:
    """The medical questions of a folder with `*mc_task.json` and, under the same prefix, `*TruthfulQA.csv`, or of either file.

    Raises Refusal where one is missing or a question of the one is not in the other.
    """
    if split != "test":
        raise Refusal(f"{path}: TruthfulQA has no training questions; leave `train` out and set shots = 0")
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
    try:
        with categories.open(encoding="utf-8-sig", newline="") as stream:
            category = {row["Question"].strip(): row["Category"] for row in csv.DictReader(stream)}
        questions = [(entry["question"].strip(), dict(entry["mc1_targets"])) for entry in json.loads(options.read_text(encoding="utf-8"))]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise Refusal(f"{options} and {categories.name}: not TruthfulQA's files ({type(error).__name__}: {error}); "
                      "fetch them again") from None
    items = []
    for number, (question, targets) in enumerate(questions):
        if question not in category:
            raise Refusal(f"{options}: {question!r} is not in {categories.name}; take both from one release")
        if category[question] in MEDICAL:
            items.append(_item(question, targets, f"{prefix}truthfulqa-{number:04d}", category[question], options))
    return tuple(items)


def _item(question: str, targets: dict[str, int], name: str, group: str, path: Path) -> Item:
    true = [option for option, value in targets.items() if value == 1]
    if len(true) != 1 or len(targets) < 2:
        raise Refusal(f"{path}: {question!r} has {len(true)} true of {len(targets)} options; MC1 needs one true and one false at least")
    ordered = sorted(targets, key=lambda option: hashlib.sha256(f"{question}\0{option}".encode()).digest())
    return Item(id=name, question=question, options=tuple(option.strip() for option in ordered), answer=ordered.index(true[0]), group=group)
