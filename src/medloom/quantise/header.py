"""The header of a GGUF file, its metadata left as bytes: a tokenizer's 128,000 strings need not be taken apart to be carried over.

GGUF, version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Little-endian, as every file in use is.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal

ALIGNMENT = 32
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_U32, _STRING, _ARRAY = 4, 8, 9


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's name, shape (rows first), number of its ggml type, and where its first byte stands in the file."""

    name: str
    shape: tuple[int, ...]
    type: int
    start: int

    @property
    def rows(self) -> int:
        """Rows of `columns` weights, over all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """Weights in a row."""
        return self.shape[-1]


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself: each key's type and value as bytes, in file order, and its tensors."""

    pairs: dict[str, bytes]
    tensors: list[TensorInfo]

    def value(self, key: str) -> Any:
        """The value of a key, or None where the file has no such key."""
        return _Cursor(self.pairs[key]).value() if key in self.pairs else None


def number_value(value: int) -> bytes:
    """A 32-bit number as a metadata value."""
    return struct.pack("<II", _U32, value)


def string_value(value: str) -> bytes:
    """A string as a metadata value."""
    return struct.pack("<I", _STRING) + _string(value)


def strings_value(values: Sequence[str]) -> bytes:
    """A list of strings as a metadata value."""
    return struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + b"".join(map(_string, values))


def read_header(path: Path) -> Header:
    """The header of a GGUF file. Raises Refusal for one that is missing, no GGUF file, cut off or damaged in its header."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if not path.is_file():
        raise Refusal(f"{path}: no such file; name a GGUF file")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refusal(f"{path}: not a GGUF file; export the model folder first")
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                cursor = _Cursor(data, 4)
                version = cursor.number("I")
                if version not in (2, 3):
                    raise ValueError(f"version {version} of GGUF")
                tensors, pairs = cursor.number("Q"), cursor.number("Q")
                header = Header({cursor.string(): cursor.raw() for _ in range(pairs)}, [])
                found = [(cursor.string(), tuple(cursor.number("Q") for _ in range(cursor.number("I")))[::-1], cursor.number("I"),
                          cursor.number("Q")) for _ in range(tensors)]
                start = padded(cursor.at, header.value("general.alignment") or ALIGNMENT)
                for name, shape, type, offset in found:
                    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(type)]
                    if start + offset + math.prod(shape) // block * size > len(data):
                        raise ValueError(f"{name} ends beyond the file")
                    header.tensors.append(TensorInfo(name, shape, type, int(start + offset)))
        except (ValueError, KeyError, struct.error, MemoryError, RecursionError) as error:
            raise Refusal(f"{path}: damaged or cut off ({error}); export or copy it again") from None
    return header


def written(pairs: Mapping[str, bytes], tensors: Sequence[tuple[str, tuple[int, ...], int, int]]) -> bytes:
    """The bytes before the first tensor. tensors: name, shape, number of the type, size in bytes, in file order; each is padded to 32."""
    pairs = {key: number_value(ALIGNMENT) if key == "general.alignment" else value for key, value in pairs.items()}
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(pairs))]
    parts += [part for key, value in pairs.items() for part in (_string(key), value)]
    offset = 0
    for name, shape, type, size in tensors:
        parts.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), type, offset))
        offset += padded(size, ALIGNMENT)
    header = b"".join(parts)
    return header.ljust(padded(len(header), ALIGNMENT), b"\0")


def padded(size: int, alignment: int) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


class _Cursor:
    """Reads one thing after the other; what goes beyond the end is an error."""

    def __init__(self, data: bytes | mmap.mmap, at: int = 0) -> None:
        self.data, self.at = data, at

    def number(self, form: str) -> Any:
        value = struct.unpack_from("<" + form, self.data, self.at)[0]
        self.at += struct.calcsize("<" + form)
        return value

    def _bytes(self, count: int) -> bytes:
        self._skip(count)
        return self.data[self.at - count:self.at]

    def _skip(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise ValueError("its header ends too soon")
        self.at += count

    def string(self) -> str:
        return self._bytes(self.number("Q")).decode()

    def raw(self) -> bytes:
        """The next value's type and itself, undecoded."""
        start = self.at
        self._pass(self.number("I"))
        return self.data[start:self.at]

    def _pass(self, type: int) -> None:
        if type == _STRING:
            self._skip(self.number("Q"))
        elif type == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            if inner in (_STRING, _ARRAY):
                for _ in range(count):
                    self._pass(inner)
            else:
                self._skip(count * struct.calcsize("<" + _SCALARS[inner]))
        else:
            self._skip(struct.calcsize("<" + _SCALARS[type]))

    def value(self) -> Any:
        return self._value(self.number("I"))

    def _value(self, type: int) -> Any:
        if type == _STRING:
            return self.string()
        if type == _ARRAY:
            inner, count = self.number("I"), self.number("Q")
            return [self._value(inner) for _ in range(count)]
        return self.number(_SCALARS[type])


def _string(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<Q", len(encoded)) + encoded
