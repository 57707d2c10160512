"""Energy: what counters say where they can be read, else an estimate that says it is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloom.ledger import meter, nvml
from medloom.ledger.meter import Meter

# As nvml.h declares them: two devices, of which each counts 3,600,000 millijoules more at every look.
DRIVER = """
#include <string.h>
static unsigned long long counts[2] = {5, 7};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { if (index > 1) return 2; *device = &counts[index]; return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) { if (strcmp(uuid, "GPU-b")) return 6; *device = &counts[1]; return 0; }
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
    *energy = *(unsigned long long *)device += 3600000; return 0; }
"""


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler, to build a stand-in for NVIDIA's driver library")
    (tmp_path / "nvml.c").write_text(DRIVER)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "libnvml.so", tmp_path / "nvml.c"], check=True)
    monkeypatch.setattr(nvml, "LIBRARY", str(tmp_path / "libnvml.so"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml._library.cache_clear()
    yield
    nvml._library.cache_clear()


def test_without_any_counter_it_is_an_estimate_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_joules", dict)
    with Meter(watts=3.6e6) as metered:
        pass
    assert metered.energy == {"kwh": metered.wall_seconds, "method": "assumed: 3.6e+06 W over the wall time"}


def test_processors_and_accelerators_are_added(monkeypatch: pytest.MonkeyPatch, driver: None) -> None:
    looks = iter([100.0, 100.0 + 3.6e6])
    monkeypatch.setattr(meter, "_rapl_joules", lambda: next(looks))
    with Meter(watts=100) as metered:
        pass
    assert metered.energy["kwh"] == pytest.approx(1 + 2 * 0.001)
    assert metered.energy["method"] == "RAPL counters of the processors and NVML counters of the accelerators"


def test_a_counter_that_began_anew_is_left_out(monkeypatch: pytest.MonkeyPatch, driver: None) -> None:
    looks = iter([3.6e6, 5.0])
    monkeypatch.setattr(meter, "_rapl_joules", lambda: next(looks))
    with Meter(watts=100) as metered:
        pass
    assert metered.energy == {"kwh": pytest.approx(0.002), "method": "NVML counters of the accelerators"}


@pytest.mark.parametrize("visible, joules", [("1", 3600.007), ("GPU-b", 3600.007), ("0,1", 7200.012), ("", None), ("7", None)])
def test_only_this_process_accelerators_count(monkeypatch: pytest.MonkeyPatch, driver: None, visible: str, joules: float | None) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = nvml.accelerator_joules()
    assert found == (None if joules is None else pytest.approx(joules))


def test_a_machine_without_a_driver_has_no_such_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "LIBRARY", "libno-such-driver.so.1")
    nvml._library.cache_clear()
    assert nvml.accelerator_joules() is None
    nvml._library.cache_clear()
