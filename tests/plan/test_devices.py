"""Tables of hardware and grids, and a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.ledger import Refusal
from medloom.plan import counted, device, devices, grids, this_machine

OWN = """[mine]
name = "Mine"
peak_tflops = 100
memory_gb = 32
watts = 250
dollars_per_hour = 1.5
year = 2026
source = "its data sheet"
"""


def test_peaks_are_dense() -> None:
    """Data sheets of the H100, H200 and L40S state bfloat16 with sparsity: 1,979, 1,979 and 733 TFLOP/s."""
    table = devices()
    for name in ("H100-80G", "H200"):
        assert table[name].peak_tflops == pytest.approx(1979 / 2, rel=1e-3)
    assert table["L40S"].peak_tflops == pytest.approx(733 / 2, rel=0.02)
    assert table["A100-80G"].peak_tflops == 312
    assert {"A100-80G", "H100-80G", "H200", "B200", "L40S", "RTX-4090"} <= table.keys()


def test_every_line_has_a_year_and_a_source() -> None:
    assert all(one.year >= 2020 and one.source for one in devices().values())
    assert all(one["year"] >= 2022 and one["source"] for one in grids().values())
    assert grids()["CHE"]["g_per_kwh"] == 34.8, "Our World in Data has 34.84 for 2023; the card of 2023 took 16, of 2018"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    place = tmp_path / "mine.toml"
    place.write_text(OWN)
    found = device(str(place))
    assert (found.name, found.hardware(4, 1.2).dollars_per_hour, found.hardware(4, 1.2).count) == ("Mine", 1.5, 4)
    place.write_text(OWN.replace("watts", "wats"))
    with pytest.raises(Refusal, match=r"mine\.toml.*watts"):
        device(str(place))
    with pytest.raises(Refusal, match=r"A100-80G.*TOML file"):
        device("A1000")


def test_numbers_before_names() -> None:
    assert counted("64xA100-80G") == (64, "A100-80G")
    assert counted("A100-80G") == (None, "A100-80G")
    assert counted("this") == (None, "this")


def test_this_machine_is_measured() -> None:
    found = this_machine()
    assert found.memory_gb > 1
    assert 1e-4 < found.peak_tflops < 1e4
