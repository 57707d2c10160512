"""The tensors of a model folder as they lie in its safetensors, one file or shards."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..ledger import Refusal
from ..ledger.files import read_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


class Stored:
    """The memory-mapped tensors of a folder, of which only what is asked for is read. A context manager.

    Raises Refusal where there are no weights, or pickled ones only, which can run code that their author chose, or broken files.
    """

    def __init__(self, folder: Path) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._shards: dict[str, Any] = {}
        with ExitStack() as stack:
            for path in _files(folder):
                try:
                    shard = stack.enter_context(safe_open(path, framework="pt", device="cpu"))
                except SafetensorError as error:
                    raise Refusal(f"{path}: not a whole safetensors file ({error}); fetch it again") from None
                for name in shard.keys():  # noqa: SIM118  a safetensors handle is no mapping
                    self.shapes[name] = tuple(shard.get_slice(name).get_shape())
                    self._shards[name] = shard
            self._open = stack.pop_all()

    def read(self, name: str, *where: slice) -> torch.Tensor:
        """A tensor in the dtype that it is stored in, or the part of it within `where`, one slice a dimension from the first on."""
        shard = self._shards[name]
        tensor: torch.Tensor = shard.get_slice(name)[where] if where else shard.get_tensor(name)
        return tensor

    def dtype(self, name: str) -> torch.dtype:
        """The dtype that a tensor is stored in."""
        return self.read(name, slice(0, 1)).dtype

    def __enter__(self) -> Stored:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        files = [folder / name for name in sorted(set(read_json(index).get("weight_map", {}).values()))]
        for path in files:
            if not path.is_file():
                raise Refusal(f"{path}: named by {index.name} and not there; fetch the missing shard")
        return files
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    pickled = sorted(path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern))
    if pickled:
        more = f" and {len(pickled) - 4} more" if len(pickled) > 4 else ""
        raise Refusal(f"{folder}: only pickled weights ({', '.join(pickled[:4])}{more}), which can run code when read; "
                      "save them as safetensors where you trust them")
    raise Refusal(f"{folder}: no weights ({SINGLE}, or shards with {INDEX})")
