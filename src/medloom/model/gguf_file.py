"""A GGUF file that is read: whole, and what its metadata say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ledger import Refusal


def open_gguf(path: Path) -> Any:
    """A gguf.GGUFReader; Refusal for a missing, foreign or cut-off file."""
    import gguf

    if not path.is_file():
        raise Refusal(f"{path}: no such file; name a GGUF file")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refusal(f"{path}: not a GGUF file; export the model folder first")
    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        raise Refusal(f"{path}: damaged or cut off ({error}); export or copy it again") from None


def field_value(reader: Any, key: str) -> Any:
    """A metadata value of a GGUFReader, or None where the file has no such key."""
    field = reader.get_field(key)
    return None if field is None else field.contents()
