"""From a model folder to GGUF files and what each of them costs: export, quantisation, measurement.

Files are written by the `gguf` package; K-quants by the ggml inside `xllamacpp`; measured by llama.cpp itself. Reading a
GGUF file is `gguf.GGUFReader`'s work. Which file may ship is decided by who reads these figures.
"""

from __future__ import annotations

from .compressed import export_compressed
from .export import export_gguf
from .importing import import_gguf
from .measure import measure
from .requantise import quantise

__all__ = ["export_compressed", "export_gguf", "import_gguf", "measure", "quantise"]
