"""Engines: what computes an answer, behind one interface."""

from __future__ import annotations

from .engine import Ask, Broken, Busy, Engine, Piece, Refused, Scored, Starting, Turn, Unable, Written
from .llama_cpp import LlamaCpp
from .upstream import Upstream

__all__ = ["Ask", "Broken", "Busy", "Engine", "LlamaCpp", "Piece", "Refused", "Scored", "Starting", "Turn", "Unable", "Upstream", "Written"]
