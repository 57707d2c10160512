"""What work cost: wall and processor time, peak memory, energy, and on which machine."""

from __future__ import annotations

import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .nvml import accelerator_joules

PACKAGES = ("torch", "numpy", "transformers", "tokenizers", "sentencepiece", "safetensors", "pyarrow", "duckdb", "lxml",
            "trafilatura", "pypdfium2", "rensa", "gguf", "xllamacpp")
RAPL = Path("/sys/class/powercap")
INTERVAL = 0.1


class Meter:
    """Measures a block: `with Meter(watts) as meter: ...`, then read `wall_seconds`, `cpu_seconds`, `peak_mb` and `energy`.

    Peak memory is the largest sum of resident memory of this process and its children, sampled ten times a second, in
    megabytes (1e6 bytes). Energy is read from the processors' RAPL counters and the accelerators' NVML ones, where they can be read, and
    assumed to be `watts` over the wall time where neither can; `energy` says which.
    """

    def __init__(self, watts: float) -> None:
        self._watts = watts
        self._stop = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._wall, self._cpu, self._joules = time.monotonic(), _cpu_seconds(), _joules()
        self._peak = _resident_bytes()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self.wall_seconds = round(time.monotonic() - self._wall, 3)
        self.cpu_seconds = round(_cpu_seconds() - self._cpu, 3)
        self._peak = max(self._peak, _resident_bytes())
        self.peak_mb = round(self._peak / 1e6, 1)
        self.energy = self._energy(_joules())

    def _energy(self, after: Mapping[str, float]) -> dict[str, Any]:
        """Kilowatt hours, and the counters that they were read from; a counter that began anew in the meantime tells nothing."""
        used = {name: after[name] - joules for name, joules in self._joules.items() if after.get(name, -1.0) >= joules}
        if not used:
            return {"kwh": self._watts * self.wall_seconds / 3.6e6, "method": f"assumed: {self._watts:g} W over the wall time"}
        return {"kwh": sum(used.values()) / 3.6e6, "method": " and ".join(used)}

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self._peak = max(self._peak, _resident_bytes())


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def _resident_bytes() -> int:
    """Resident memory of this process and its descendants; on systems without /proc, this process's peak so far."""
    try:
        return sum(_pages(pid) for pid in _family(os.getpid())) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _family(pid: int) -> list[int]:
    members = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            members += _family(int(child)) if Path(f"/proc/{child}").exists() else []
    return members


def _pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0  # it ended between the listing and the look


def _joules() -> dict[str, float]:
    """What each kind of counter stands at, of those that can be read."""
    counters = {"RAPL counters of the processors": _rapl_joules(), "NVML counters of the accelerators": accelerator_joules()}
    return {name: joules for name, joules in counters.items() if joules is not None}


def _rapl_joules() -> float | None:
    """Energy counted by the processor packages since they started; None where the counters cannot be read."""
    try:
        counters = [int((zone / "energy_uj").read_text()) for zone in RAPL.glob("intel-rapl:*") if zone.name.count(":") == 1]
    except OSError:
        return None
    return sum(counters) / 1e6 if counters else None


def environment() -> dict[str, str]:
    """Versions of what a figure may depend on."""
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    for package in ("medloom", *PACKAGES):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """The machine: processor, cores this process may use, memory in bytes, threads and accelerators of torch where it is in use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"processor": _processor(), "cores": cores}
    if "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_bytes"] = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    torch = sys.modules.get("torch")  # only where a step used it: importing it costs seconds
    if torch is not None:
        found["threads"] = torch.get_num_threads()  # sums are taken in another order by more of them
    if torch is not None and torch.cuda.is_available():
        found["accelerators"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
