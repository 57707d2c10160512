"""What an audit reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that a law found: what does not hold, the sum that shows it, and what would mend it.

    error: the card's statements cannot all be true. warning: a statement goes beyond or hides what the numbers bear. note: worth
    knowing. `quote` is the passage that it rests on, where there is one.
    """

    law: str
    severity: Severity
    statement: str
    arithmetic: str
    remedy: str
    quote: str = ""
