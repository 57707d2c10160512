"""The gate: what of the files that were made may ship, with the figures that say so, a picture, and a card for each."""

from __future__ import annotations

from .cards import write_file_cards
from .judge import Judgement, Margins, judge, smallest
from .picture import draw_losses

__all__ = ["Judgement", "Margins", "draw_losses", "judge", "smallest", "write_file_cards"]
