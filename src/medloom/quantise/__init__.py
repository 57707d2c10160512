"""From a model folder to GGUF files and what each of them costs: export, importance of columns, quantisation, measurement, the gate.

Full files are written by the `gguf` package, quantised by the ggml inside `xllamacpp`, and measured by llama.cpp itself. Which file
may ship is the gate's to say.
"""

from __future__ import annotations

from .compressed import export_compressed
from .export import export_gguf
from .gate import Judgement, Margins, draw_losses, judge, smallest, write_file_cards
from .importance import collect_importance, read_importance
from .importing import import_gguf
from .measure import measure
from .mixture import MIXTURES
from .reference import Reference, read_reference, write_reference
from .requantise import quantise

__all__ = ["MIXTURES", "Judgement", "Margins", "Reference", "collect_importance", "draw_losses", "export_compressed", "export_gguf",
           "import_gguf", "judge", "measure", "quantise", "read_importance", "read_reference", "smallest", "write_file_cards",
           "write_reference"]
