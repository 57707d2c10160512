"""The evaluation of a run, drawn for people: one page that works offline, and the same facts in Markdown."""

from __future__ import annotations

from .write import draw_evaluation

__all__ = ["draw_evaluation"]
