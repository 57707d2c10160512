"""The train room: continued pretraining and finetuning, one loop for both, in one process or many.

What computes is imported when it is first asked for: it brings torch, and whoever only starts other processes has no use for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .job import Job, run_job

if TYPE_CHECKING:
    from .adapters import merge_folder
    from .loop import Diverged
    from .probing import Probe, probe
    from .rehearsal import Rehearsal, rehearse
    from .stages import finetune, pretrain

__all__ = ["Diverged", "Job", "Probe", "Rehearsal", "finetune", "merge_folder", "pretrain", "probe", "rehearse", "run_job"]

_COMPUTES = {"Diverged": "loop", "Probe": "probing", "Rehearsal": "rehearsal", "finetune": "stages", "merge_folder": "adapters",
             "pretrain": "stages", "probe": "probing", "rehearse": "rehearsal"}


def __getattr__(name: str) -> Any:
    if name not in _COMPUTES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_COMPUTES[name]}", __name__), name)
