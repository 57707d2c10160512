"""PubMedQA's form: one JSON object {pmid: {QUESTION, CONTEXTS, final_decision, …}}, answered yes, no or maybe.

Jin et al. 2019, arXiv 1909.06146. The released set is ori_pqal.json with 1000 labelled questions; the 500 ids in
test_ground_truth.json are the test, the others may be learned from. LONG_ANSWER, the paper's conclusion, gives the answer
away and is never read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from .benchmark import Item

DECISIONS = ("yes", "no", "maybe")
WHOLE, TEST_IDS = "ori_pqal.json", "test_ground_truth.json"


def read(path: Path, split: str) -> tuple[Item, ...]:
    """Questions of a .json file, or of `{split}.json` in a folder, in the file's order.

    Where a test_ground_truth.json lies beside the file, `split` "test" takes the ids that it names (and holds their
    answers against it), "train" the others. Raises Refusal for a file that cannot be used.
    """
    if path.is_dir():
        path = path / (f"{split}.json" if (path / f"{split}.json").is_file() else WHOLE)
    raw = _object(path)
    ids_file = path.with_name(TEST_IDS)
    if path.name == WHOLE and ids_file.is_file():
        truth = _object(ids_file)
        missing = [pmid for pmid in truth if pmid not in raw]
        if missing:
            raise Refusal(f"{ids_file}: names {len(missing)} ids that {path.name} lacks, such as {missing[0]}; take both from one release")
        wrong = [pmid for pmid, decision in truth.items() if raw[pmid].get("final_decision") != decision]
        if wrong:
            raise Refusal(f"{ids_file}: disagrees with {path.name} on {len(wrong)} answers, such as {wrong[0]}; take both from one release")
        raw = {pmid: entry for pmid, entry in raw.items() if (pmid in truth) == (split == "test")}
    return tuple(_item(pmid, entry, path) for pmid, entry in raw.items())


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise Refusal(f"{path}: no such file; name the PubMedQA .json file, or a folder that holds {WHOLE} or test.json")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not valid JSON: {error}") from None
    if not isinstance(raw, dict) or not raw:
        raise Refusal(f"{path}: must hold one object with an entry for each question")
    return raw


def _item(pmid: str, raw: Any, path: Path) -> Item:
    try:
        question, contexts = str(raw["QUESTION"]).strip(), [str(part).strip() for part in raw.get("CONTEXTS") or ()]
        answer = DECISIONS.index(raw["final_decision"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refusal(f"{path}, {pmid}: not a PubMedQA question ({type(error).__name__}: {error}); "
                      "an entry needs QUESTION, CONTEXTS and final_decision yes, no or maybe") from None
    if not question:
        raise Refusal(f"{path}, {pmid}: QUESTION is empty; mend or remove the entry")
    return Item(id=pmid, question=question, options=DECISIONS, answer=answer, lettered=False,
                context="\n".join(part for part in contexts if part) or None, pmid=pmid if pmid.isdigit() else None)
