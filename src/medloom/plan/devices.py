"""What runs on, and on what power: accelerators and electricity grids, from tables with a source for each line, or a file of the user's."""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from ..ledger import Refusal
from ..recipe import Grid, Hardware, Recipe
from ..recipe.part import Part, Positive

HERE = Path(__file__).parent
THIS = "this"
COUNTED = re.compile(r"(?:(?P<count>[1-9]\d*)x)?(?P<name>.+)")
Amount = Annotated[float, Field(gt=0)]


class Device(Part):
    """One accelerator, or a machine without any. `peak_tflops` is dense, in bfloat16; `memory_gb` in 1e9 bytes; `watts` the most it draws.

    In gigabytes a second and per device: `memory_gb_s` of its memory, `link_gb_s` to another of its node of `per_node`, `network_gb_s` to
    one of another node, each in one direction.
    """

    name: str
    peak_tflops: Amount
    memory_gb: Amount
    watts: Amount
    memory_gb_s: Amount | None = None
    link_gb_s: Amount = 32.0
    network_gb_s: Amount = 12.5
    per_node: Positive = 8
    dollars_per_hour: float | None = Field(default=None, ge=0)
    year: int
    source: str

    def hardware(self, count: int, overhead: float) -> Hardware:
        """As a recipe has it."""
        return Hardware(name=self.name, count=count, peak_tflops=self.peak_tflops, memory_gb=self.memory_gb, watts=self.watts,
                        dollars_per_hour=self.dollars_per_hour, overhead=overhead)


@cache
def devices() -> dict[str, Device]:
    """The table of accelerators, by the names that `--hardware` takes."""
    return _devices(HERE / "hardware.toml")


def counted(text: str) -> tuple[int | None, str]:
    """`64xA100-80G` is 64 of them, `A100-80G` as many as the recipe says."""
    found = COUNTED.fullmatch(text)
    if found is None:
        raise Refusal("--hardware: names no device; give a name, a file, or 8xNAME")
    return (int(found["count"]) if found["count"] else None), found["name"]


def device(name: str) -> Device:
    """A device by its name in the table, `this` for this machine, or the only one of a TOML file. Raises Refusal for none of these."""
    if name == THIS:
        return this_machine()
    known = {key.lower(): found for key, found in devices().items()}
    if name.lower() in known:
        return known[name.lower()]
    if Path(name).suffix == ".toml" or Path(name).is_file():
        own = _devices(Path(name))
        if len(own) != 1:
            raise Refusal(f"{name}: holds {len(own)} devices; leave one table in it")
        return next(iter(own.values()))
    raise Refusal(f"--hardware {name}: not in the table ({', '.join(devices())}), not `{THIS}`, and no file; write a TOML file "
                  "with a table [NAME] of name, peak_tflops, memory_gb, watts, year and source")


def device_of(hardware: Hardware) -> Device:
    """The device that a recipe's hardware names, or one of its numbers whose links are guessed."""
    for known in devices().values():
        if known.name == hardware.name:
            return known
    return Device(name=hardware.name, peak_tflops=hardware.peak_tflops, memory_gb=hardware.memory_gb, watts=hardware.watts, year=0,
                  source="the recipe; links and network assumed")


def on_hardware(recipe: Recipe, text: str) -> tuple[Recipe, Device]:
    """The recipe on other hardware: `NAME`, `8xNAME`, `this`, or a file. Raises Refusal where the number does not suit its layout."""
    count, name = counted(text)
    found = device(name)
    count = count or recipe.hardware.count
    if count != recipe.layout.processes:
        raise Refusal(f"--hardware {text}: the recipe's layout is of {recipe.layout.processes} processes (data {recipe.layout.data} x "
                      f"tensor {recipe.layout.tensor} x pipeline {recipe.layout.pipeline}); say --search {text} to see layouts that fit")
    watts = recipe.hardware.watts if name == THIS else found.watts
    hardware = found.hardware(count, recipe.hardware.overhead).model_copy(update={"watts": watts})
    return recipe.model_copy(update={"hardware": hardware}), found


@cache
def grids() -> dict[str, dict[str, Any]]:
    """The table of grids, by country code."""
    return tomllib.loads((HERE / "grids.toml").read_text(encoding="utf-8"))


def on_grid(recipe: Recipe, code: str) -> Recipe:
    """The recipe on another grid, its PUE as it was. Raises Refusal for an unknown code."""
    found = grids().get(code.upper())
    if found is None:
        raise Refusal(f"--grid {code}: not in the table ({', '.join(grids())}); set grid.g_per_kwh and grid.source in the recipe instead")
    grid = Grid(region=found["region"], g_per_kwh=found["g_per_kwh"], source=f"{found['source']}, {found['year']}", pue=recipe.grid.pue)
    return recipe.model_copy(update={"grid": grid})


def this_machine() -> Device:
    """This machine: its accelerator by the table, or its processors with what a product of float32 matrices reaches on them now."""
    import torch

    from ..ledger.meter import hardware

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        known = next((one for one in devices().values() if one.name == properties.name), None)
        if known is None:
            raise Refusal(f"--hardware this: {properties.name} is not in the table; describe it in a file")
        return known.model_copy(update={"memory_gb": properties.total_memory / 1e9})
    machine = hardware()
    return Device(name=f"{machine['processor']}, {machine['cores']} cores", peak_tflops=_product_tflops(), memory_gb=_memory_gb(),
                  watts=100, per_node=1, year=0, source="measured here: the product of two float32 matrices; memory as the system says")


def _product_tflops(size: int = 1024, tries: int = 5) -> float:
    """TFLOP/s of the fastest of some products of two [size, size] float32 matrices."""
    import time

    import torch

    matrix = torch.ones(size, size)
    best = float("inf")
    for _ in range(tries):
        began = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e12


def _memory_gb() -> float:
    """Memory that this process may have: the machine's, or its control group's where that is less."""
    sizes = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        sizes.append(int(text))
    return min(sizes) / 1e9


def _devices(path: Path) -> dict[str, Device]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {key: Device.model_validate(table) for key, table in tables.items()}
    except OSError as error:
        raise Refusal(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "a table"
        raise Refusal(f"{path}: {where}: {fault['msg'].lower()}; a device has {', '.join(Device.model_fields)}") from None
