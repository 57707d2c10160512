"""The check of a card: every figure looked up again by its key, every digest taken again, every form written afresh and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

from .manifest import MANIFEST, altered, card_files
from .recount import recount
from .trail import Trail
from .write import MACHINE, PICTURES, write_card

AROUND = 30  # characters of a line that are shown on either side of what differs


def check_card(out: Path, lineage: Mapping[str, Any], folders: Mapping[str, Path] | None = None) -> list[str]:
    """What does not hold in the card at `out`, a line each; empty where every digit does. `folders` as in `write_card`."""
    folders = folders or {}
    trail = Trail(lineage)
    faults = [*_figures(out, trail), *recount(trail, folders)]
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        for name, _ in PICTURES.values():  # another version draws other bytes; the manifest tells whether a picture was exchanged
            if (out / name).is_file():
                copyfile(out / name, fresh / name)
        write_card(lineage, fresh, folders, pictures=False)
        told = dict(_forms(card_files(fresh), card_files(out)))
        manifest = _manifest(out, json.loads((fresh / MANIFEST).read_text(encoding="utf-8")))
        return [*faults, *(fault for own in told.values() for fault in own), *(f for f in manifest if f.partition(": ")[0] not in told)]


def _forms(ours: Mapping[str, Path], theirs: Mapping[str, Path]) -> Iterator[tuple[str, list[str]]]:
    """The files of a card that are not as they should be, by name, each with what is wrong."""
    for name in sorted({*ours, *theirs}):
        if name not in ours:
            yield name, [f"{name}: does not belong to the card"]
        elif name not in theirs:
            yield name, [f"{name}: is missing"]
        elif found := list(_differences(theirs[name].read_bytes(), ours[name].read_bytes())):
            yield name, [f"{name}, {told}" for told in found]


def _figures(out: Path, trail: Trail) -> Iterator[str]:
    """Each figure of card.json against the value at its key."""
    figures = (_read(out / MACHINE) or {}).get("figures")
    if not isinstance(figures, list):
        yield f"{MACHINE}: holds no figures that can be read"
        return
    for figure in figures:
        key = figure.get("key") if isinstance(figure, Mapping) else None
        try:
            value = trail.find(key) if isinstance(key, str) else None
        except (KeyError, TypeError, ValueError, IndexError):
            value = None
        if value is None:
            yield f"{MACHINE}: the ledger has no figure at {key!r}"
        elif value != figure.get("value"):
            yield f"{key}: the card says {figure.get('value')}, the ledger {value}"


def _manifest(out: Path, fresh: Mapping[str, Any]) -> list[str]:
    """The manifest against the files that it names, and against what it should name."""
    stated = _read(out / MANIFEST)
    if stated is None:
        return [f"{MANIFEST}: is missing, or cannot be read"]
    faults = altered(out, stated)
    for part in sorted({*fresh, *stated}):
        now, then = stated.get(part), fresh.get(part)
        if now != then and part != "card":  # the card's files were compared one by one
            named = [now, then] if isinstance(now, Mapping) and isinstance(then, Mapping) else [{}, {}]
            names = [name for name in sorted({*named[0], *named[1]}) if named[0].get(name) != named[1].get(name)] or [part]
            faults += [f"{MANIFEST}: what it says of {name} is not what the ledger says" for name in names]
    return faults


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _differences(old: bytes, new: bytes) -> Iterator[str]:
    """Where a file differs from the one that should be there: its line, and both wordings with a little of what stands around them."""
    if old == new:
        return
    mine, theirs = (content.decode("utf-8", "replace").split("\n") for content in (old, new))
    for tag, a, b, c, d in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag != "equal":
            for place, (says, should) in enumerate(zip_longest(mine[a:b], theirs[c:d])):
                yield f"line {a + place + 1}: {_wordings(says, should)}"


def _wordings(says: str | None, should: str | None) -> str:
    if says is None or should is None:
        return f"lacks: {(should or '')[:2 * AROUND]}" if says is None else f"should not say: {says[:2 * AROUND]}"
    start = next((place for place, (a, b) in enumerate(zip(says, should, strict=False)) if a != b), min(len(says), len(should)))
    end = next((place for place, (a, b) in enumerate(zip(reversed(says[start:]), reversed(should[start:]), strict=False)) if a != b),
               min(len(says), len(should)) - start)
    cut = [line[max(0, start - AROUND):len(line) - end + AROUND] for line in (says, should)]
    return f"says {cut[0][:4 * AROUND]!r}, should say {cut[1][:4 * AROUND]!r}"
