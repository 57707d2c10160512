"""The evaluation room: benchmarks, how they are posed, engines that score them, and what the answers show.

What computes is imported when it is first asked for: it brings torch, and whoever only reads questions has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .answers import answer
from .benchmark import Benchmark, Item
from .calibration import Calibration, calibrate
from .comparing import compare_files
from .describe import describe_compare, describe_rescore
from .engine import Continuation, Engine, Sampling
from .examples import write_examples
from .extract import read_choice
from .harness import write_lm_eval, write_tasks
from .meditron import DEFECTS
from .opening import open_engine
from .reading import read_benchmark, write_questions
from .report import draw_evaluation
from .rescore import rescore
from .scoring import (
    Comparison,
    Outcome,
    Score,
    adjust,
    compare,
    compare_benchmarks,
    compare_outcomes,
    read_answers,
    score,
    score_outcomes,
)

if TYPE_CHECKING:
    from .forgetting import bits_per_byte
    from .gguf_engine import GGUFEngine
    from .server_engine import ServerEngine
    from .torch_engine import TorchEngine

__all__ = [
    "DEFECTS", "Benchmark", "Calibration", "Comparison", "Continuation", "Engine", "GGUFEngine", "Item", "Outcome", "Sampling", "Score",
    "ServerEngine", "TorchEngine", "adjust", "answer", "bits_per_byte", "calibrate", "compare", "compare_benchmarks", "compare_files",
    "compare_outcomes", "describe_compare", "describe_rescore", "draw_evaluation", "open_engine", "read_answers", "read_benchmark",
    "read_choice", "rescore", "score", "score_outcomes", "write_examples", "write_lm_eval", "write_questions", "write_tasks",
]

_COMPUTES = {"GGUFEngine": "gguf_engine", "ServerEngine": "server_engine", "TorchEngine": "torch_engine", "bits_per_byte": "forgetting"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
