"""The model card, generated from the ledger, and the audit of anyone's card.

Nothing in a card is typed: what the lineage does not hold, the card does not say. The audit reads a card as a stranger would and
redoes its sums; it proves contradictions, never correctness.
"""

from __future__ import annotations

from ..notice import NOTICE
from .audit import Finding, audit
from .check import check_card
from .prose import Uncited
from .write import write_card

__all__ = ["NOTICE", "Finding", "Uncited", "audit", "check_card", "write_card"]
