"""What a run will take before it runs: parameters, FLOPs, memory per rank, time, cost, energy and carbon.

It is arithmetic over the recipe, not a simulation: the utilisation is an assumption until a run has been measured, and the memory
of activations is an estimate. `describe` prints every factor once, so that a reader can redo the sums.
"""

from __future__ import annotations

from .estimate import Plan, Stage, plan
from .memory import Memory
from .report import describe

__all__ = ["Memory", "Plan", "Stage", "describe", "plan"]
