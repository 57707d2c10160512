"""A run's card and what it was written from, found again: the card's own folder, its recipe, and the folder of each step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .ledger import Ledger, Refusal
from .ledger.step import code_digest
from .recipe import Recipe
from .summary import lineage

RECORD = "record.json"


def check(place: Path) -> tuple[Path, list[str]]:
    """The card's folder, and what does not hold: of the ledger's chain, records and outputs, and of every figure and form of the card.

    place: the folder of a run that wrote a card, or that of a card in it. Refused where there is none.
    """
    from .card import check_card

    folder = _card_folder(place)
    record = _record(folder)
    steps = folder.parent
    folders = {name: steps / str(made["step"]) for name, made in record["inputs"].items()}
    lost = [f"{path.name}/{RECORD}: is gone or no longer JSON" for path in folders.values() if not _is_json(path / RECORD)]
    # What the ledger says of the card itself is said better by the comparison of its forms.
    broken = [fault.removeprefix(f"{steps}/") for fault in Ledger(steps.parent).verify() if not _of_a_form(fault, folder)]
    if lost:
        return folder, [*broken, *lost]
    try:
        found = check_card(folder, lineage(Recipe.model_validate(record["params"]["recipe"]), folders), folders)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if not broken:  # records that are as they were written make a card; if these do not, that is no fault of the run
            raise
        return folder, [*broken, f"no card can be written from these records: {error!r}"]
    told = {fault.partition(": ")[0] for fault in broken}
    faults = [*broken, *(fault for fault in found if fault.partition(": ")[0].removeprefix("../") not in told)]
    if faults and record.get("code") != code_digest(tuple(record["rooms"])):
        faults.append("note: this card was written by another version of medloom, which may word and lay out a card otherwise; to tell "
                      "that from an alteration, check it with the version that wrote it")
    return folder, faults


def _card_folder(place: Path) -> Path:
    """The folder itself where it is a card's; else the card of the run's last road, or the last that the run wrote before."""
    found = next((path for path in (place, place / "latest" / "card") if (path / RECORD).is_file()), None) or _last_card(place)
    if found is None or _record(found).get("name") != "card":
        raise Refusal(f"{place}: neither the folder of a run that wrote a card, nor a card's folder in one; write one with: "
                      "medloom card RECIPE")
    return found.resolve()


def _last_card(run: Path) -> Path | None:
    entered = [run / "steps" / str(entry["folder"]) for entry in Ledger(run).chain() if entry["kind"] == "step"]
    written = [folder for folder in entered if folder.name.startswith("card-") and (folder / RECORD).is_file()]
    return written[-1] if written else None


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record["inputs"], record["params"]["recipe"], record["rooms"]
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{folder / RECORD}: no record of a card; write the card again with: medloom card RECIPE") from None
    return record


def _of_a_form(fault: str, folder: Path) -> bool:
    return fault.startswith(f"{folder}/") and not fault.startswith(f"{folder / RECORD}:")


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), Mapping)
    except (OSError, ValueError):
        return False
