"""Files of several types from one model, without a recipe: what is made on the way is taken away again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medloom.ledger import Progress, Refusal, Silent
from medloom.ledger.files import json_lines
from medloom.model.gguf_file import digest_file

from .coarse.mixture import MIXTURES
from .coarse.requantise import quantise
from .full.metadata import FILE_TYPES, About

POSITIONS = 100_000  # of calibration text, by default: some two hundred windows, as llama-imatrix is commonly run


def make_files(source: Path, types: Sequence[str], out: Path, *, importance: Path | None = None, calibration: Path | None = None,
               positions: int = POSITIONS, about: About | None = None, progress: Progress | None = None) -> list[dict[str, Any]]:
    """Write `out`/NAME-TYPE.gguf for each of `types` from `source`, a model folder or a GGUF file of full weights.

    importance: an importance matrix; calibration: text to collect one on, JSON lines with `text` or plain, which takes a model folder.
    Returns the figures of each file, with "file". Raises Refusal as export and quantisation do, and for a full type of a GGUF file.
    """
    source, out, progress = Path(source), Path(out), progress or Silent()
    folder = source.is_dir()
    if importance is not None and calibration is not None:
        raise Refusal("give either an importance matrix or text to collect one on, not both")
    if calibration is not None and not folder:
        raise Refusal(f"{source}: importance is collected on a model folder; name that, or give a matrix with --imatrix")
    unknown = [kind for kind in types if kind not in FILE_TYPES and kind not in MIXTURES]
    if unknown:
        raise Refusal(f"{unknown[0]}: not a type that is written here; use one of {', '.join((*FILE_TYPES, *MIXTURES))}")
    full = [kind for kind in types if kind in FILE_TYPES]
    if full and not folder:
        raise Refusal(f"{full[0]}: written from a model folder, and {source} is a file")
    name = re.sub(f"-({'|'.join(FILE_TYPES)})$", "", source.stem) if not folder else source.name or source.resolve().name
    if calibration is not None:
        from .coarse.importance import collect_importance

        importance = out / f"{name}-imatrix.gguf"
        collect_importance(source, _texts(calibration), positions, importance, dataset=calibration.name, progress=progress)
    stored = _stored_as(source) if folder else None
    exact = source if stored is None else out / f"{name}-{stored}.gguf"
    found = []
    if stored is not None:
        from .full.export import export_gguf

        for kind in dict.fromkeys([*full, *([stored] if len(full) < len(types) else [])]):
            figures = export_gguf(source, out / f"{name}-{kind}.gguf", kind, about=about, progress=progress)
            if kind in types:
                found.append({"file": str(out / f"{name}-{kind}.gguf"), **figures})
    for kind in types:
        if kind not in FILE_TYPES:
            made = out / f"{name}-{kind}.gguf"
            found.append({"file": str(made), **quantise(exact, made, kind, importance=importance, progress=progress)})
    if stored is not None and stored not in types:
        exact.unlink(missing_ok=True)
        digest_file(exact).unlink(missing_ok=True)
    return found


def _stored_as(folder: Path) -> str:
    """The type that holds all of a folder's weights as they are."""
    from .full.weights import stored_weights

    kinds = {weight.dtype for weight in stored_weights(folder).values()}
    names = {"torch.bfloat16": "BF16", "torch.float16": "F16"}
    return names.get(str(kinds.pop()), "F32") if len(kinds) == 1 else "F32"


def _texts(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: cannot be read as text ({error}); give UTF-8 text, or JSON lines with `text`") from None
    if path.suffix == ".jsonl":
        return [str(value["text"]) for _, _, value in json_lines(text, path) if isinstance(value, dict) and value.get("text")]
    return [text]
