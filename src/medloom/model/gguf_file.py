"""A GGUF file that is read: whole, unaltered since it was written, and what its metadata say.

Nothing in the format tells altered weights from the right ones, and llama.cpp loads a file with two thousand flipped bytes and writes text
from it. So a digest lies beside each file that is written here, in the form of coreutils' `sha256sum`, and whoever opens the file
compares. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import os
import re
import struct
import time
from functools import cache
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from ..ledger.files import sha256_file, write_text

SETTLED = 2_000_000_000  # nanoseconds after which a further change of a file surely shows in its times
_SIZE = struct.Struct("=Q")
_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *](.+)")
_digests: dict[tuple[int, ...], str] = {}


def open_gguf(path: Path) -> Any:
    """A gguf.GGUFReader of a file that is whole; tensor data are mapped, and read for the digest alone, where one lies beside the file.

    Raises Refusal for a file that is missing, foreign or cut off at any place, or is not the one that its digest was written for.
    """
    if not path.is_file():
        raise Refusal(f"{path}: no such file; name a GGUF file, such as one that `medloom export` wrote")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refusal(f"{path}: not a GGUF file; `medloom export` makes one of a model folder")
    try:
        reader = _reader_class()(path)
        _check_extent(reader, path.stat().st_size)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise Refusal(f"{path}: damaged or cut off ({error}); export or copy it again") from None
    check_digest(path)
    return reader


def field_value(reader: Any, key: str) -> Any:
    """A metadata value of a GGUFReader, or None where the file has no such key."""
    field = reader.get_field(key)
    return None if field is None else field.contents()


def digest_file(path: Path) -> Path:
    """Where the digest of a GGUF file lies: FILE.gguf.sha256 beside FILE.gguf."""
    return path.with_name(f"{path.name}.sha256")


def write_digest(path: Path) -> None:
    """Write the digest of a GGUF file beside it; `sha256sum -c` reads it, too."""
    name = path.name.replace("\\", "\\\\").replace("\n", "\\n")
    write_text(digest_file(path), f"{'' if name == path.name else chr(92)}{sha256_file(path)}  {name}\n")


def gguf_digest(path: Path) -> str:
    """SHA-256 of a file. A file that this process has read and that stood still since is not read again."""
    before = _state(path)
    if before not in _digests:
        # A file changed a moment ago may change again within the grain of its times, unseen.
        settled = time.time_ns() - max(before[-2:]) > SETTLED
        digest = sha256_file(path)
        if not settled or _state(path) != before:
            return digest
        _digests[before] = digest
    return _digests[before]


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file's bytes do; the last, the time of its last change, no program sets back."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_digest(path: Path) -> None:
    """Refuse a file whose bytes are not those that the digest beside it stands for; one without a digest passes."""
    beside = digest_file(path)
    if not beside.is_file():
        return
    lines = [match for line in beside.read_bytes().decode("utf-8", "replace").splitlines() if (match := _LINE.fullmatch(line))]
    own = [match for match in lines if os.path.basename(match[2]) == path.name]  # noqa: PTH119  a name, escaped or not, no path
    if not own and len(lines) != 1:
        raise Refusal(f"{beside}: names no SHA-256 of {path.name}; write it anew with sha256sum, or take it away to use the file unchecked")
    wanted = (own or lines)[0][1].lower()
    found = gguf_digest(path)
    if found != wanted:
        raise Refusal(f"{path}: altered or damaged: its SHA-256 is {found[:12]}..., and {beside.name} says {wanted[:12]}...; "
                      "export or copy it again, both files together")


def _check_extent(reader: Any, size: int) -> None:
    """Raise ValueError where tensors do not lie one behind the other, as llama.cpp wants them, or go beyond the end of the file."""
    place = int(reader.data_offset)
    for tensor in reader.tensors:
        if tensor.data_offset != place:
            raise ValueError(f"{tensor.name} lies at byte {tensor.data_offset}, not at {place}")
        if place + tensor.n_bytes > size:
            raise ValueError(f"{tensor.name} goes to byte {place + tensor.n_bytes} of {size}")
        place += -(-int(tensor.n_bytes) // int(reader.alignment)) * int(reader.alignment)


@cache
def _reader_class() -> Any:
    import gguf
    import numpy as np

    array, string = gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING

    class Reader(gguf.GGUFReader):
        """gguf's own, but that it takes no end of the file for an empty value, and reads an array at once and not value by value:
        it needs seconds for a vocabulary otherwise. `contents()` of a field gives the same."""

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            found = super()._get(offset, dtype, count, override_order)
            if len(found) != count:
                raise ValueError(f"{count} values asked for at byte {offset} of {len(self.data)}")
            return found

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type != array or self.byte_order != "I":
                return super()._get_field_parts(orig_offs, raw_type)
            kind, length, place = self._get(orig_offs, np.uint32), self._get(orig_offs + 4, np.uint64), orig_offs + 12
            parts = [kind, length]
            if kind[0] in self.gguf_scalar_to_np:
                parts.append(self._get(place, self.gguf_scalar_to_np[kind[0]], int(length[0])))
                place += parts[-1].nbytes
            elif kind[0] == string:
                bytes_of: Any = self.data.data
                for _ in range(int(length[0])):
                    size, = _SIZE.unpack_from(bytes_of, place)
                    parts.append(np.frombuffer(bytes_of, np.uint8, size, place + _SIZE.size))
                    place += _SIZE.size + size
            else:
                return super()._get_field_parts(orig_offs, raw_type)
            return place - orig_offs, parts, list(range(2, len(parts))), [array, gguf.GGUFValueType(kind[0])]

    return Reader
