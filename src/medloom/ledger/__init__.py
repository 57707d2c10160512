"""The ledger: steps with content-addressed outputs, their records, and the lineage that they form."""

from __future__ import annotations

from .progress import Bars, Progress, Silent


class Refusal(ValueError):
    """Input that cannot be used. The message is one line: the file or key, the cause, the cure. Exit code 2."""


__all__ = ["Bars", "Progress", "Refusal", "Silent"]
