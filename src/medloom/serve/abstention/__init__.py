"""When a served model had better not answer: questions with a few possible answers, its confidence, and the threshold for it."""

from __future__ import annotations

from .calibration import Calibration, read_calibration, refuse_too_few, threshold_for
from .confidence import Decision, abstention, chances, decide
from .options import options_of

__all__ = ["Calibration", "Decision", "abstention", "chances", "decide", "options_of", "read_calibration", "refuse_too_few",
           "threshold_for"]
