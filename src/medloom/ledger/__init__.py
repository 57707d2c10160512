"""The ledger: steps with content-addressed outputs, their records, and the lineage that they form."""

from __future__ import annotations

from .progress import Bars, Progress, Silent
from .refusal import Refusal
from .step import Step, Workspace, ancestry
from .store import Done, Ledger

__all__ = ["Bars", "Done", "Ledger", "Progress", "Refusal", "Silent", "Step", "Workspace", "ancestry"]
