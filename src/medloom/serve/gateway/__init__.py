"""The gateway: OpenAI's API over HTTP in front of the models, and their page."""

from __future__ import annotations

from .application import Gateway
from .protocol import Protocol

__all__ = ["Gateway", "Protocol"]
