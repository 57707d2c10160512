"""The ledger: steps with content-addressed outputs, their records, and the lineage that they form."""

from __future__ import annotations

from .ending import STOPPED, Broken, Stopped
from .progress import Bars, Progress, Silent
from .refusal import Refusal
from .step import Step, Workspace, ancestry
from .store import Done, Ledger
from .waste import Waste, find_waste

__all__ = ["STOPPED", "Bars", "Broken", "Done", "Ledger", "Progress", "Refusal", "Silent", "Step", "Stopped", "Waste",
           "Workspace", "ancestry", "find_waste"]
