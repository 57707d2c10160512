"""What of a ledger no kept road needs: steps of roads that were walked before, damaged ones, and on request what was left unfinished."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .refusal import Refusal
from .store import RECORD, STATE, Ledger


@dataclass(frozen=True)
class Waste:
    """A folder that may go, its bytes, and why."""

    folder: Path
    bytes: int
    why: str

    def figures(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def kept_roads(ledger: Ledger, count: int) -> list[set[str]]:
    """The steps' folders of the last `count` roads, newest first.

    A road that is part of another one, such as that of `medloom corpus` on a recipe that was run whole, is no road of its own.
    """
    kept: list[set[str]] = []
    for entry in reversed(ledger.chain()):
        if entry["kind"] == "road":
            steps = set(entry["steps"])
            parts = [road for road in kept if road <= steps]
            if parts:
                kept = [steps if road is parts[0] else road for road in kept if road is parts[0] or road not in parts]
            elif not any(steps <= road for road in kept):
                kept.append(steps)
    return kept[:count]


def find_waste(ledger: Ledger, roads: int = 1, unfinished: bool = False) -> list[Waste]:
    """The folders that none of the last `roads` roads needs, the largest first.

    What was made after the last road was walked to its end belongs to a walk that was stopped and may go on, and so does a step that was
    not finished: both stay unless `unfinished`. Raises Refusal where there is no ledger.
    """
    if not (ledger.root / "ledger.jsonl").is_file():
        raise Refusal(f"{ledger.root}: holds no ledger; name the folder where a run is kept")
    needed = set[str]().union(*kept_roads(ledger, roads))
    later = _since_last_road(ledger)
    found = []
    for folder in sorted((ledger.root / "steps").iterdir()) if (ledger.root / "steps").is_dir() else []:
        if not folder.is_dir() or folder.name in needed:
            continue
        if ".damaged-" in folder.name:
            why = "damaged, and made anew since"
        elif (folder / STATE).is_dir() or not (folder / RECORD).exists():
            why = "not finished" if unfinished else ""
        elif folder.name in later:
            why = "of a walk that was not finished" if unfinished else ""
        else:
            why = "of an earlier run"
        if why:
            found.append(Waste(folder, sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()), why))
    return sorted(found, key=lambda waste: -waste.bytes)


def _since_last_road(ledger: Ledger) -> set[str]:
    """Folders of steps that were entered after the last road, and that no road has named."""
    entered: set[str] = set()
    named: set[str] = set()
    for entry in ledger.chain():
        if entry["kind"] == "road":
            entered.clear()
            named.update(entry["steps"])
        elif entry["kind"] == "step":
            entered.add(entry["folder"])
    return entered - named
