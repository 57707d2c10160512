"""A GGUF model behind an OpenAI-compatible gateway with a page, or in the terminal.

The engine is llama.cpp's server in a supervised child process; the gateway decides who gets to it, checks what they ask,
and puts the notice on every answer. No prompt or answer is logged or stored.
"""

from __future__ import annotations

from .server import serve
from .terminal import chat

__all__ = ["chat", "serve"]
