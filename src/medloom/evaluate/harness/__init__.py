"""The exchange with lm-evaluation-harness: our benchmarks as its tasks, our answers in its schema, our engines as its models.

Only the last needs lm-eval itself (see lm.py); files are written without it.
"""

from __future__ import annotations

from .results import write_lm_eval
from .task_files import write_tasks

__all__ = ["write_lm_eval", "write_tasks"]
