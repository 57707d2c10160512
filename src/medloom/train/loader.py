"""The batches of a run, prepared ahead of the step that needs them, so that the accelerator does not wait for the disk."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .data import Rows, batch

AHEAD = 4  # batches that may lie ready


@dataclass(frozen=True)
class Loaded:
    """A Batch as tensors: inputs, positions, targets, segments int64 and counted bool, all [rows, length].

    `segments` is None where documents are together; `tokens` counts the inputs that are no padding.
    """

    inputs: Tensor
    positions: Tensor
    segments: Tensor | None
    targets: Tensor
    counted: Tensor
    tokens: int

    def on(self, device: torch.device, rows: slice = slice(None)) -> dict[str, Tensor]:
        """Some rows on a device, by name, without what is None; pinned, they are copied while the host goes on."""
        named = {name: getattr(self, name) for name in ("inputs", "positions", "segments", "targets", "counted")}
        return {name: whole[rows].to(device, non_blocking=True) for name, whole in named.items() if whole is not None}


class Loader:
    """Iterates over a rank's batches of steps [start, steps), made in order by a thread of its own, AHEAD of them at most in advance.

    Tensors are on the host, in pinned memory where `device` is CUDA. `waited` tells the seconds that the caller waited in all. What goes
    wrong with a batch is raised to the caller at its step. Ends its thread when it is exhausted, failed or closed; a context manager.
    """

    def __init__(self, rows: Rows, *, size: int, vocab_size: int, start: int, steps: int, rank: int = 0, ranks: int = 1,
                 device: torch.device) -> None:
        self._load = partial(load, rows, size=size, vocab_size=vocab_size, rank=rank, ranks=ranks, device=device)
        self._pending = iter(range(start, steps))
        self._ready: deque[Future[Loaded]] = deque()
        self._thread = ThreadPoolExecutor(1, "loader")
        self.waited = 0.0
        for _ in range(AHEAD):
            self._prepare()

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Loaded:
        if not self._ready:
            self.close()
            raise StopIteration
        began = time.monotonic()
        try:
            found = self._ready.popleft().result()
        except BaseException:
            self.close()
            raise
        finally:
            self.waited += time.monotonic() - began
        self._prepare()
        return found

    def close(self) -> None:
        """End the thread; what was prepared is let go."""
        self._thread.shutdown(cancel_futures=True)
        self._ready.clear()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _prepare(self) -> None:
        step = next(self._pending, None)
        if step is not None:
            self._ready.append(self._thread.submit(self._load, step))


def load(rows: Rows, step: int, *, size: int, vocab_size: int, rank: int, ranks: int, device: torch.device) -> Loaded:
    """A rank's batch of one step, in pinned memory where `device` is CUDA."""
    def tensor(array: NDArray[Any]) -> Tensor:
        made = torch.from_numpy(np.ascontiguousarray(array))
        return made.pin_memory() if device.type == "cuda" else made

    made = batch(rows, step, size, vocab_size, rank, ranks)
    return Loaded(tensor(made.inputs), tensor(made.positions), None if made.segments is None else tensor(made.segments),
                  tensor(made.targets), tensor(made.counted), made.tokens)
