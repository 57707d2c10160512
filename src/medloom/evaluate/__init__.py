"""The evaluation room: benchmarks, how they are put to a model, and what its answers show.

    benchmarks  the questions of each benchmark, read from its files
    engines     what computes: our network, llama.cpp, any server
    statistics  intervals and tests, on plain numbers
    scores      from answers to scores, calibration and paired comparisons
    asking      prompts under each protocol and mode, and the walk that leaves answers.jsonl
    forgetting  held-out text in bits per byte
    rescoring   answers that lie in somebody's file already
    report      a run's evaluation as a page
    harness     lm-eval: its tasks, its results, our engines in it

A package imports only from those above it. What computes is imported when it is first asked for: it brings torch, and whoever only reads
questions has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .asking import DEFECTS, answer, message, write_examples
from .benchmarks import Benchmark, Item, read_benchmark, write_questions
from .engines import Continuation, Engine, Sampling, open_engine
from .harness import write_lm_eval, write_tasks
from .report import draw_evaluation
from .rescoring import compare_files, describe_compare, describe_rescore, rescore
from .scores import (
    Calibration,
    Comparison,
    Outcome,
    Score,
    adjust,
    calibrate,
    compare,
    compare_benchmarks,
    compare_outcomes,
    read_answers,
    read_choice,
    score,
    score_outcomes,
)

if TYPE_CHECKING:
    from .engines import GGUFEngine, ServerEngine, TorchEngine
    from .forgetting import bits_per_byte

__all__ = [
    "DEFECTS", "Benchmark", "Calibration", "Comparison", "Continuation", "Engine", "GGUFEngine", "Item", "Outcome", "Sampling", "Score",
    "ServerEngine", "TorchEngine", "adjust", "answer", "bits_per_byte", "calibrate", "compare", "compare_benchmarks", "compare_files",
    "compare_outcomes", "describe_compare", "describe_rescore", "draw_evaluation", "message", "open_engine", "read_answers",
    "read_benchmark", "read_choice", "rescore", "score", "score_outcomes", "write_examples", "write_lm_eval",
    "write_questions", "write_tasks",
]

_COMPUTES = {"GGUFEngine": "engines", "ServerEngine": "engines", "TorchEngine": "engines", "bits_per_byte": "forgetting"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
