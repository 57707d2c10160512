"""From a model folder to GGUF files and what each of them costs: export, quantisation, measurement.

Files are written by the `gguf` package; K-quants by the ggml inside `xllamacpp`; measured by llama.cpp itself. Reading a
GGUF file is `gguf.GGUFReader`'s work. Which file may ship is the gate's to say.
"""

from __future__ import annotations

from .export import export_gguf
from .gate import Judgement, Margins, draw_losses, judge, smallest, write_file_cards
from .measure import measure
from .reference import Reference, read_reference, write_reference
from .requantise import quantise

__all__ = ["Judgement", "Margins", "Reference", "draw_losses", "export_gguf", "judge", "measure", "quantise", "read_reference", "smallest",
           "write_file_cards", "write_reference"]
