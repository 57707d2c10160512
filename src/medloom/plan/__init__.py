"""What a run will take before it runs: parameters, FLOPs, memory per rank, time, cost, energy, carbon and disk; and which layouts fit.

It is arithmetic over the recipe, not a simulation: the utilisation is an assumption until a probe or a run has measured it. `tables` names
every factor once, so that a reader can redo the sums.
"""

from __future__ import annotations

from .actual import against
from .devices import counted, device, devices, grids, on_grid, on_hardware, this_machine
from .estimate import Pace, Plan, Stage, fitting_layers, plan
from .memory import Memory
from .report import search_table, tables
from .search import Candidate, search

__all__ = ["Candidate", "Memory", "Pace", "Plan", "Stage", "against", "counted", "device", "devices", "fitting_layers", "grids", "on_grid",
           "on_hardware", "plan", "search", "search_table", "tables", "this_machine"]
