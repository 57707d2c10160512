"""PubMedQA's labelled questions: a paper's title that is a question and its abstract, answered yes, no or maybe.

Jin et al. 2019, arXiv 1909.06146. The released set is ori_pqal.json with 1000 labelled questions; the 500 ids in
test_ground_truth.json are the test, the others may be learned from. The hub's pqa_labeled has all 1000 as its only split, and needs the
same list. The long answer, the paper's conclusion, gives the answer away and is never read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .benchmark import Item
from .medqa import said
from .rows import Row, has_split, read_file, read_rows

DECISIONS = ("yes", "no", "maybe")
WHOLE, TEST_IDS, LABELLED = "ori_pqal.json", "test_ground_truth.json", "pqa_labeled"


def read(path: Path, split: str, part: str | None = None) -> tuple[Item, ...]:
    """Questions of a file, or of a folder's `split`, in the file's order.

    Where a test_ground_truth.json lies beside all thousand, `split` "test" takes the ids that it names (and holds their
    answers against it), "train" the others. Raises Refusal for a file that cannot be used.
    """
    if part is not None:
        raise Refusal(f"{path}: PubMedQA has no part {part!r}, and none at all; leave `part` out")
    whole, truth = _whole(path, split)
    if whole is None:
        return tuple(_item(row) for row in read_rows(path, (split,)))
    items = tuple(_item(row) for row in whole)
    if truth is None:
        return items
    given = {item.id: item.options[item.answer] for item in items}
    said_there = _truth(truth)
    missing = [pmid for pmid in said_there if pmid not in given]
    if missing:
        raise Refusal(f"{truth}: names {len(missing)} ids that {path} lacks, such as {missing[0]}; take both from one release")
    wrong = [pmid for pmid, decision in said_there.items() if given[pmid] != decision]
    if wrong:
        raise Refusal(f"{truth}: disagrees with {path} on {len(wrong)} answers, such as {wrong[0]}; take both from one release")
    return tuple(item for item in items if (item.id in said_there) == (split == "test"))


def _whole(path: Path, split: str) -> tuple[list[Row] | None, Path | None]:
    """The rows of all thousand and the list of the test's ids, each None where it is not there."""
    if path.is_file():
        beside = path.with_name(TEST_IDS)
        return (read_file(path), beside) if path.name == WHOLE and beside.is_file() else (None, None)
    if has_split(path, "test"):
        return None, None
    if (path / WHOLE).is_file():
        return read_file(path / WHOLE), path / TEST_IDS if (path / TEST_IDS).is_file() else None
    folder = path / LABELLED if (path / LABELLED).is_dir() else path
    if not has_split(folder, "train"):
        return None, None
    truth = next((place for place in (path / TEST_IDS, folder / TEST_IDS) if place.is_file()), None)
    if truth is None:
        if split == "train":
            return None, None
        raise Refusal(f"{path}: has all labelled questions in one split and no {TEST_IDS} to tell the test's; put that file of the "
                      "PubMedQA repository beside them")
    return read_rows(folder, ("train",)), truth


def _truth(path: Path) -> dict[str, str]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not valid JSON: {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise Refusal(f"{path}: must hold one object, {{id: decision}}")
    return {str(pmid): str(decision) for pmid, decision in raw.items()}


def _item(row: Row) -> Item:
    raw = {name.lower(): value for name, value in row.values.items()}
    try:
        question = raw["question"].strip()
        contexts = raw.get("contexts", raw.get("context"))
        if isinstance(contexts, Mapping):  # the hub's: {contexts, labels, meshes, …}
            contexts = contexts["contexts"]
        parts = [contexts] if isinstance(contexts, str) else list(contexts or ())
        context = "\n".join(part.strip() for part in parts if part.strip())
        answer = DECISIONS.index(_decision(raw))
        (context + question).encode()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(f"{row.where}: not a PubMedQA question ({type(error).__name__}: {error}); "
                      "an entry needs QUESTION, CONTEXTS and final_decision yes, no or maybe") from None
    if not question:
        raise Refusal(f"{row.where}: QUESTION is empty; mend or remove the entry")
    name = next((text for field in ("pubid", "pmid", "document_id", "id") if (text := said(raw, field))), row.name)
    return Item(id=name, question=question, options=DECISIONS, answer=answer, lettered=False, context=context or None,
                pmid=name if name.isdigit() else None)


def _decision(raw: Mapping[str, Any]) -> str:
    decision = raw["final_decision"] if "final_decision" in raw else raw["answer"]
    return str(decision[0] if isinstance(decision, list) and len(decision) == 1 else decision)
