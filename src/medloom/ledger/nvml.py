"""Energy that NVIDIA accelerators count themselves, read from the driver's own library; nothing needs to be installed for it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache

LIBRARY = "libnvidia-ml.so.1"


def accelerator_joules() -> float | None:
    """Energy that this process's accelerators used since the driver was loaded, each with whatever else runs on it.

    None where there is none, or where one does not count (before Volta). Those that CUDA_VISIBLE_DEVICES names are this process's, by
    default all; see nvmlDeviceGetTotalEnergyConsumption in NVIDIA's NVML reference, which counts millijoules.
    """
    library = _library()
    if library is None:
        return None
    counted = []
    for device in _devices(library):
        millijoules = ctypes.c_ulonglong()
        if device is None or library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(millijoules)):
            return None
        counted.append(millijoules.value)
    return sum(counted) / 1000 if counted else None


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(LIBRARY)
        return None if library.nvmlInit_v2() else library
    except (OSError, AttributeError):
        return None


def _devices(library: ctypes.CDLL) -> Iterator[ctypes.c_void_p | None]:
    """A handle for each device, None for one that the library does not know."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = ctypes.c_uint()
    library.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for name in map(str, range(count.value)) if visible is None else visible.split(","):
        device = ctypes.c_void_p()
        if name.strip().isdecimal():
            failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(device))
        elif name.strip().startswith(("GPU-", "MIG-")):
            failed = library.nvmlDeviceGetHandleByUUID(name.strip().encode(), ctypes.byref(device))
        else:
            return  # CUDA stops at the first name that it does not understand
        yield None if failed else device
