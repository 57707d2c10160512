"""The audit of a card, anyone's: what it states is read, and every law is asked of it.

Reading (`document`, `tables`, `sentences`, `cells`, `read`) knows no laws; the laws (`laws`, one list) ask for claims, runs and scores. A
law finds fault only where no reading of the card holds.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .claims import Card, Claim
from .finding import SEVERITIES, Finding
from .laws import LAWS, Law
from .read import parse_card, read_card
from .report import extent, laws_table, report, told

__all__ = ["LAWS", "Card", "Claim", "Finding", "Law", "audit", "extent", "findings", "laws_table", "parse_card", "read_card", "report",
           "told"]


def audit(path: Path) -> list[Finding]:
    """Read a model card (Markdown with or without its line breaks, plain text, HTML) and hold it to the laws.

    Every number is the card's own or a published fact (`known`, `benchmarks`). Errors come first, then warnings, then notes. Raises
    Refusal where the file is no text.
    """
    return findings(read_card(path))


def findings(card: Card) -> list[Finding]:
    """What the laws find in a card, worst first, each once: what is found in common is not told again for a variant."""
    found: dict[tuple[str, str, str], Finding] = {}
    for law in LAWS:
        for run in card.runs if law.by_run else card.runs[:1]:
            for finding in law.find(run):
                told = replace(finding, statement=f"{run.variant}: {finding.statement}") if run.variant else finding
                found.setdefault((finding.law, finding.statement, finding.arithmetic), told)
    return sorted(found.values(), key=lambda finding: SEVERITIES.index(finding.severity))
