"""Models behind an OpenAI-compatible gateway with a page, or in the terminal.

An engine computes: llama.cpp's server in a supervised child process, or another server. The gateway decides who gets to it, checks what
they ask, and puts the notice on every answer. No prompt or answer is logged or stored.
"""

from __future__ import annotations

from .alone import ask, opened
from .keys import add_key, read_keys, revoke_key
from .offers import Offer, Settings, offer, with_calibrations, with_templates
from .server import serve
from .terminal import chat

__all__ = ["Offer", "Settings", "add_key", "ask", "chat", "offer", "opened", "read_keys", "revoke_key", "serve", "with_calibrations",
           "with_templates"]
