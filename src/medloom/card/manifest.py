"""The manifest: SHA-256 and size of every file of the card, of the model, and of the records that the card was written from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..ledger.files import sha256_file, write_json
from .bom import model_files
from .trail import Trail

MANIFEST, RECORD = "manifest.json", "record.json"


def card_files(out: Path) -> dict[str, Path]:
    """Every file of a card but its manifest and the ledger's own, by name."""
    found = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if name not in (MANIFEST, RECORD) and not name.startswith(".state/")}


def write_manifest(out: Path, trail: Trail, folders: Mapping[str, Path]) -> None:
    """Digest what lies in `out`; digests of the model's files are the recorded ones. Paths count from the folder of the card."""
    model = {f"../{folders[step].name}/{path}": {"sha256": output["sha256"], "bytes": output["bytes"]}
             for step, path, output in model_files(trail) if step in folders}
    records = {f"../{folder.name}/{RECORD}": _digest(folder / RECORD) for folder in folders.values()}
    write_json(out / MANIFEST, {"algorithm": "SHA-256", "card": {name: _digest(path) for name, path in card_files(out).items()},
                                "model": model, "records": records})


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": sha256_file(path), "bytes": path.stat().st_size}


def altered(out: Path, manifest: Mapping[str, Any]) -> list[str]:
    """What of the files that a manifest names is gone or has other bytes: a line each."""
    faults = []
    for part in ("card", "model", "records"):
        for name, stated in (manifest.get(part) or {}).items():
            path = out / name
            if not path.is_file():
                faults.append(f"{name}: is missing")
            elif _digest(path) != stated:
                faults.append(f"{name}: is not the file that the manifest names: its SHA-256 is {sha256_file(path)}")
    return faults
