"""What computes: log-probabilities and continuations, from a model folder, a GGUF file or a server, behind one protocol.

`engine` is the protocol, `opening` chooses. Our own network is `torch_engine`: `passage` runs it with a shared beginning computed once,
`mixing` is attention over keys that lie in several places, `decode` continues prompts. llama.cpp is `gguf_engine`, and anything that speaks
OpenAI's API is `server_engine` with its `server_client`; `beginnings` is what these two share. An engine is imported when it is first asked
for: it brings torch, llama.cpp or httpx.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .engine import Continuation, Engine, Ids, Sampling
from .opening import open_engine

if TYPE_CHECKING:
    from .gguf_engine import GGUFEngine
    from .server_engine import ServerEngine
    from .torch_engine import TorchEngine

__all__ = ["Continuation", "Engine", "GGUFEngine", "Ids", "Sampling", "ServerEngine", "TorchEngine", "open_engine"]

_ENGINES = {"GGUFEngine": "gguf_engine", "ServerEngine": "server_engine", "TorchEngine": "torch_engine"}


def __getattr__(name: str) -> Any:
    if name not in _ENGINES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ENGINES[name]}", __name__), name)
