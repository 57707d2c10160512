"""From a model folder to files that others run, and what each of them costs: export, quantisation, measurement, the gate, and back.

Quantised by the ggml inside `xllamacpp`, and measured by llama.cpp itself. Which file may ship is the gate's to say. What brings torch is
imported when it is first asked for: whoever only quantises or judges has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .coarse.importance import collect_importance, read_importance
from .coarse.mixture import MIXTURES
from .coarse.requantise import quantise
from .distance.measure import measure
from .distance.reference import Reference, read_reference, write_reference
from .full.metadata import About
from .gate import Judgement, Margins, draw_losses, judge, smallest, write_file_cards
from .making import make_files

if TYPE_CHECKING:
    from .back.importing import import_gguf
    from .compressed import export_compressed
    from .full.export import export_gguf

__all__ = ["MIXTURES", "About", "Judgement", "Margins", "Reference", "collect_importance", "draw_losses", "export_compressed",
           "export_gguf", "import_gguf", "judge", "make_files", "measure", "quantise", "read_importance", "read_reference", "smallest",
           "write_file_cards", "write_reference"]

_COMPUTES = {"export_compressed": "compressed", "export_gguf": "full.export", "import_gguf": "back.importing"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
