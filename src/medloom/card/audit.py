"""The audit of a card: every law over what the card states, worst findings first."""

from __future__ import annotations

from pathlib import Path

from . import laws_compute, laws_results
from .claims import read_card
from .finding import Finding

_ORDER = ("error", "warning", "note")


def audit(path: Path) -> list[Finding]:
    """Read a model card (Markdown with or without its line breaks, plain text, HTML) and hold it to the laws.

    Every number is the card's own or a published fact (`known`). Errors come first, then warnings, then notes. Raises Refusal
    where the file is no text.
    """
    card = read_card(path)
    findings = [finding for law in (*laws_compute.LAWS, *laws_results.LAWS) for finding in law(card)]
    return sorted(dict.fromkeys(findings), key=lambda finding: _ORDER.index(finding.severity))
