"""The head of a GGUF file, all that stands before its weights: read and written.

Values stay bytes until they are asked for: a tokenizer's 128,000 strings need not be taken apart to be carried over from file to file.
GGUF, version 3: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Little-endian, as every file in use is.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..ledger import Refusal

ALIGNMENT = 32  # bytes: a multiple of this is where each tensor of a file that is written here begins
Value: TypeAlias = bool | int | float | str | Sequence[str] | Sequence[int] | Sequence[float]
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_LENGTH = struct.Struct("<Q")
_DIMENSIONS = 4  # the most that ggml knows


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's name, shape (rows first), number of its ggml type, the byte of the file at which it begins, and its size in bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    start: int
    size: int

    @property
    def rows(self) -> int:
        """Rows of `columns` weights, over all dimensions but the last."""
        return math.prod(self.shape[:-1])

    @property
    def columns(self) -> int:
        """Weights in a row."""
        return self.shape[-1]

    @property
    def type_name(self) -> str:
        """The type as ggml calls it, such as Q4_K."""
        from gguf import GGMLQuantizationType

        return GGMLQuantizationType(self.type).name


@dataclass(frozen=True)
class Head:
    """What a GGUF file says of itself: each key's type and value as bytes, and its tensors, both in file order; their first byte."""

    path: Path
    pairs: dict[str, bytes]
    tensors: list[TensorInfo]
    begin: int

    def value(self, key: str) -> Any:
        """The value of a key, or None where the file has no such key. Raises Refusal for text that is not UTF-8."""
        try:
            return _Cursor(self.pairs[key]).value() if key in self.pairs else None
        except UnicodeDecodeError as error:
            raise Refusal(f"{self.path}: {key} is damaged ({error}); export or copy the file again") from None


def tensor_size(shape: Sequence[int], type: int) -> int:
    """Bytes of a tensor. Raises ValueError for a type that ggml has not, and for rows that the type's blocks do not divide."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(type)]
    if shape and shape[-1] % block:
        raise ValueError(f"rows of {shape[-1]} in blocks of {block}")
    return math.prod(shape) // block * size


def read_head(path: Path) -> Head:
    """The head of a GGUF file whose tensors are all there, one behind the other as llama.cpp wants them; they are not read.

    Raises Refusal for a file that is missing, no GGUF file, cut off at any place or damaged in its head.
    """
    if not path.is_file():
        raise Refusal(f"{path}: no such file; name a GGUF file, such as one that `medloom export` wrote")
    with path.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise Refusal(f"{path}: not a GGUF file; `medloom export` makes one of a model folder")
        try:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _read(path, data)
        except (ValueError, KeyError, struct.error, OverflowError, MemoryError, RecursionError) as error:
            raise Refusal(f"{path}: damaged or cut off ({error}); export or copy it again") from None


def head_bytes(pairs: Mapping[str, Value | bytes], tensors: Iterable[tuple[str, Sequence[int], int]]) -> bytes:
    """The bytes before the first tensor.

    pairs: values, or bytes as a Head has them. tensors: name, shape (rows first) and number of the ggml type, in file order; each is to
    be padded to ALIGNMENT bytes.
    """
    parts, infos, offset = [], [], 0
    for key, value in pairs.items():
        if key == "general.alignment":
            value = ALIGNMENT
        parts += [_string(key), value if isinstance(value, bytes) else encoded(value)]
    for name, shape, type in tensors:
        infos.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), type, offset))
        offset += padded(tensor_size(shape, type), ALIGNMENT)
    whole = b"".join([b"GGUF", struct.pack("<IQQ", 3, len(infos), len(pairs)), *parts, *infos])
    return whole.ljust(padded(len(whole), ALIGNMENT), b"\0")


def encoded(value: Value) -> bytes:
    """A value with its type. A number is of 32 bits, a whole one unsigned, but signed in a list; so llama.cpp's converter has them."""
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _U32, value)
    if isinstance(value, float):
        return struct.pack("<If", _F32, value)
    first = value[0]
    if isinstance(first, str):
        return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join([_string(text) for text in value])  # type: ignore[arg-type]
    type, form = (_F32, "f") if isinstance(first, float) else (_I32, "i")
    return struct.pack(f"<IIQ{len(value)}{form}", _ARRAY, type, len(value), *value)


def padded(size: int, alignment: int) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def _string(value: str) -> bytes:
    raw = value.encode()
    return _LENGTH.pack(len(raw)) + raw


def _read(path: Path, data: mmap.mmap) -> Head:
    cursor = _Cursor(data, 4)
    version = cursor.number("I")
    if version not in (2, 3):
        raise ValueError(f"version {version} of GGUF")
    count, keys = cursor.number("Q"), cursor.number("Q")
    head = Head(path, {}, [], 0)
    for _ in range(keys):
        key = cursor.string()
        if key in head.pairs:
            raise ValueError(f"{key} stands in it twice")
        head.pairs[key] = cursor.raw()
    found: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name, dimensions = cursor.string(), cursor.number("I")
        if name in found or not 0 < dimensions <= _DIMENSIONS:
            raise ValueError(f"{name} stands in it twice, or has {dimensions} dimensions")
        found[name] = tuple(cursor.number("Q") for _ in range(dimensions))[::-1], cursor.number("I"), cursor.number("Q")
    alignment = head.value("general.alignment") or ALIGNMENT
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise ValueError(f"aligned to {alignment}")
    place = begin = padded(cursor.at, alignment)
    for name, (shape, type, offset) in found.items():
        size = tensor_size(shape, type)
        if not size:
            raise ValueError(f"{name} is empty")
        if begin + offset != place:
            raise ValueError(f"{name} lies at byte {begin + offset}, not at {place}")
        if place + size > len(data):
            raise ValueError(f"{name} goes to byte {place + size} of {len(data)}")
        head.tensors.append(TensorInfo(name, shape, type, place, size))
        place += padded(size, alignment)
    return Head(path, head.pairs, head.tensors, begin)


class _Cursor:
    """Reads one thing after the other; what goes beyond the end is an error."""

    def __init__(self, data: bytes | mmap.mmap, at: int = 0) -> None:
        self.data, self.at = data, at

    def number(self, form: str) -> Any:
        return self._numbers(form, 1)[0]

    def _numbers(self, form: str, count: int) -> tuple[Any, ...]:
        start = self.at
        self._skip(count * struct.calcsize("<" + form))
        return struct.unpack_from(f"<{count}{form}", self.data, start)

    def string(self) -> str:
        count = self.number("Q")
        self._skip(count)
        return self.data[self.at - count:self.at].decode()

    def raw(self) -> bytes:
        """The next value's type and itself, undecoded."""
        start = self.at
        self._pass(self.number("I"))
        return self.data[start:self.at]

    def value(self) -> Any:
        return self._value(self.number("I"))

    def _skip(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise ValueError("its head ends too soon")
        self.at += count

    def _pass(self, type: int) -> None:
        if type == _STRING:
            self._skip(self.number("Q"))
        elif type != _ARRAY:
            self._skip(struct.calcsize("<" + _SCALARS[type]))
        else:
            inner, count = self.number("I"), self.number("Q")
            if inner == _STRING:
                for _ in range(count):
                    self.at += _LENGTH.size + _LENGTH.unpack_from(self.data, self.at)[0]
                self._skip(0)
            elif inner == _ARRAY:
                for _ in range(count):
                    self._pass(inner)
            else:
                self._skip(count * struct.calcsize("<" + _SCALARS[inner]))

    def _value(self, type: int) -> Any:
        if type == _STRING:
            return self.string()
        if type != _ARRAY:
            return self.number(_SCALARS[type])
        inner, count = self.number("I"), self.number("Q")
        return [self._value(inner) for _ in range(count)] if inner in (_STRING, _ARRAY) else [*self._numbers(_SCALARS[inner], count)]
