"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medloom.cli import app

from .browser import browser, clean, pictures, visit

__all__ = ["browser", "clean", "pictures", "visit"]

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real input that lies beside a development checkout; a user's clone has none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs real input in {folder}, which this checkout does not have")
    return folder


# The demo's road at its smallest: seconds, and a model that knows next to nothing.
_SMALLEST = ("world.size=tiny", "pretrain.tokens=12000", "finetune.epochs=1", "evaluate.benchmarks.invented-exam.limit=12",
             "evaluate.benchmarks.invented-trials.limit=6", "evaluate.benchmarks.general-quiz.limit=6", 'export.types=["F16"]')


def medloom(*words: str | Path, code: int = 0) -> str:
    """What a verb prints on stdout, run in this process; what it raises is raised."""
    done = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.stdout


def smallest_run(root: Path) -> Path:
    """The demo's road walked at its smallest."""
    medloom("demo", "--no-chat", "--json", "--quiet", "--out", root, *(f"--set={override}" for override in _SMALLEST))
    return root
