"""The model card, generated from the ledger, and the audit of anyone's card.

Nothing in a card is typed: what the lineage does not hold, the card does not say. The audit reads a card as a stranger would and
redoes its sums; it proves contradictions, never correctness.
"""

from __future__ import annotations

from ..notice import NOTICE
from .audit import Finding, audit
from .write import check_card, write_card

__all__ = ["NOTICE", "Finding", "audit", "check_card", "write_card"]
