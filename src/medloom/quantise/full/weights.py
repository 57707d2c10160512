"""The weights of a model folder, read from its safetensors a slice at a time.

Never mapped as a whole: what is read through a map stays in the memory of the process that read it, until it is unmapped.
The form: eight bytes that tell a header's length, the header as JSON, the tensors (https://github.com/huggingface/safetensors).
"""

from __future__ import annotations

import errno
import json
import os
import struct
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import FileIO
from math import prod
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from medloom.ledger import Refusal
from medloom.ledger.files import read_json
from medloom.model.gguf_file import append
from medloom.model.stored import INDEX, SINGLE, Stored

SLICE = 1 << 20  # bytes read at once: few enough to stay in a processor's cache
CHUNK = 16 << 20  # bytes that the kernel copies at once: few enough that who reads the growing file has always something to do
Item = TypeVar("Item")
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Weight:
    """Where a weight lies: its file, the byte at which it begins, its shape and the dtype that it is stored in."""

    path: Path
    begin: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize

    def slices(self, rows: int = 1) -> Iterator[Tensor]:
        """The weight from its first row to its last, a multiple of `rows` rows at a time."""
        row = self.size // self.shape[0]
        step = max(1, SLICE // (row * rows)) * rows
        with self.path.open("rb", buffering=0) as stream:
            stream.seek(self.begin)
            for first in range(0, self.shape[0], step):
                part = torch.empty((min(step, self.shape[0] - first), *self.shape[1:]), dtype=self.dtype)
                if stream.readinto(_bytes(part)) != part.nbytes:
                    raise Refusal(f"{self.path}: was cut while it was read; copy it again")
                yield part

    def copy(self, out: FileIO) -> None:
        """Append the weight to a file as it is; on Linux its bytes do not come by this process."""
        if sys.platform != "linux":
            for part in self.slices():
                write(out, part)
            return
        with self.path.open("rb") as stream:
            done = 0
            while done < self.size:
                count = _copied(stream.fileno(), out.fileno(), self.begin + done, min(CHUNK, self.size - done))
                if not count:
                    raise Refusal(f"{self.path}: was cut while it was read; copy it again")
                done += count


def _copied(source: int, out: int, place: int, size: int) -> int:
    """Append up to `size` bytes from `place` of a file to another; how many."""
    try:
        return os.copy_file_range(source, out, size, place)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return os.sendfile(out, source, place, size)  # from one file system to another, or where it has no way of its own


def _bytes(part: Tensor) -> memoryview:
    return memoryview(part.view(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]


def write(out: FileIO, part: Tensor) -> None:
    """Append a tensor's bytes to an unbuffered file."""
    append(out, _bytes(part.contiguous()))


def ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next of which is made by another thread while one is used."""
    nothing = object()
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = pool.submit(next, items, nothing)
            yield item  # type: ignore[misc]


def stored_weights(folder: Path) -> dict[str, Weight]:
    """Every weight of a folder by its name. Raises Refusal where files are missing or broken, or hold another form of numbers."""
    with Stored(folder):  # refuses what is not whole
        index = folder / INDEX
        names = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else [SINGLE]
    found: dict[str, Weight] = {}
    for path in (folder / name for name in names):
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if entry["dtype"] not in _DTYPES:
                raise Refusal(f"{path}: {name} is stored as {entry['dtype']}; save the model as bfloat16, float16 or float32")
            found[name] = Weight(path, 8 + length + entry["data_offsets"][0], tuple(entry["shape"]), _DTYPES[entry["dtype"]])
    return found
