"""From a model folder to GGUF files and what each of them costs: export, quantisation, measurement.

Files are written by the `gguf` package; K-quants by the ggml inside `xllamacpp`; measured by llama.cpp itself. Reading a
GGUF file is `gguf.GGUFReader`'s work. Which file may ship is decided by who reads these figures.
"""

from __future__ import annotations

from .export import export_gguf
from .measure import measure
from .metadata import About
from .requantise import quantise

__all__ = ["About", "export_gguf", "measure", "quantise"]
