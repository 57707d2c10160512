"""The evaluation room: benchmarks, how they are posed, engines that score them, and what the answers show."""

from __future__ import annotations

from .answers import answer
from .benchmark import Benchmark, Item
from .engine import Engine
from .examples import write_examples
from .forgetting import bits_per_byte
from .gguf_engine import GGUFEngine
from .reading import read_benchmark, write_questions
from .scoring import Comparison, Outcome, Score, adjust, compare, read_answers, score
from .torch_engine import TorchEngine

__all__ = [
    "Benchmark", "Comparison", "Engine", "GGUFEngine", "Item", "Outcome", "Score", "TorchEngine", "adjust", "answer", "bits_per_byte",
    "compare", "read_answers", "read_benchmark", "score", "write_examples", "write_questions",
]
