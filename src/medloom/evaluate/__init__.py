"""The evaluation room: benchmarks, how they are posed, engines that score them, and what the answers show.

What computes is imported when it is first asked for: it brings torch, and whoever only reads questions has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .answers import answer
from .benchmark import Benchmark, Item
from .engine import Engine
from .examples import write_examples
from .reading import read_benchmark, write_questions
from .scoring import Comparison, Outcome, Score, adjust, compare, read_answers, score

if TYPE_CHECKING:
    from .forgetting import bits_per_byte
    from .gguf_engine import GGUFEngine
    from .torch_engine import TorchEngine

__all__ = [
    "Benchmark", "Comparison", "Engine", "GGUFEngine", "Item", "Outcome", "Score", "TorchEngine", "adjust", "answer", "bits_per_byte",
    "compare", "read_answers", "read_benchmark", "score", "write_examples", "write_questions",
]

_COMPUTES = {"GGUFEngine": "gguf_engine", "TorchEngine": "torch_engine", "bits_per_byte": "forgetting"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
