"""From a model folder to GGUF files and what each of them costs: export, importance of columns, quantisation, measurement.

Full files are written by the `gguf` package, quantised by the ggml inside `xllamacpp`, and measured by llama.cpp itself. Which file
may ship is decided by who reads these figures.
"""

from __future__ import annotations

from .export import export_gguf
from .importance import collect_importance, read_importance
from .measure import measure
from .mixture import MIXTURES
from .requantise import quantise

__all__ = ["MIXTURES", "collect_importance", "export_gguf", "measure", "quantise", "read_importance"]
