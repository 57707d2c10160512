"""What the tensors of this process take at the most: on CUDA by torch's own count, on a CPU by the C library's count of bytes in use.

The resident memory of a process is more: its allocator keeps holes between tensors, on a CPU up to half of what comes and goes in a step.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from ..model import local

INTERVAL = 0.02


class _Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
                                                     "fordblks", "keepcost")]


class Held:
    """Measures a block: `with Held(device, tensors) as held: ...`, then `held.peak_gb`, 1e9 bytes, or None where nothing counts it.

    `tensors` are there already and count too; everything else that is there when the block begins does not. `apart` tells bytes on the
    host that do not count either: as on CUDA, where they lie in another memory.
    """

    def __init__(self, device: torch.device, tensors: Iterable[Tensor] = (), apart: Callable[[], int] = lambda: 0) -> None:
        self._cuda = device.type == "cuda"
        self._already = sum(local(tensor).nbytes for tensor in tensors)
        self._apart = apart
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_gb: float | None = None

    def __enter__(self) -> Self:
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return self
        self._before = self._peak = in_use() or 0
        if self._before:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._cuda:
            self.peak_gb = torch.cuda.max_memory_allocated() / 1e9
        elif self._before:
            self._stop.set()
            self._thread.join()
            self.peak_gb = (self._peak - self._before + self._already) / 1e9

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._peak = max(self._peak, (in_use() or 0) - self._apart())


def in_use() -> int | None:
    """Bytes that this process has from the C library's allocator and has not given back; None where that is not glibc 2.33 or newer."""
    if _mallinfo2 is None:
        return None
    found = _mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _found() -> Any:
    try:
        function = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError):
        return None
    function.restype = _Mallinfo2
    return function


_mallinfo2 = _found()
