"""The train room: continued pretraining and finetuning, one loop for both."""

from __future__ import annotations

from .adapters import merge_folder
from .loop import Diverged
from .stages import finetune, pretrain

__all__ = ["Diverged", "finetune", "merge_folder", "pretrain"]
