"""What a run tells while it goes: the same numbers everywhere, to nobody else; and the picture that it leaves."""

from __future__ import annotations

import json
import math
import socket
import sqlite3
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from medloom.ledger import Refusal
from medloom.model import ModelConfig, flops_per_token
from medloom.recipe import Training
from medloom.train import watch as room
from medloom.train.report import draw_curves
from medloom.train.watch import Watch, Watching, watch


def row(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "tokens": 1000, "learned": 990, "loss": 3.0 - step / 10, "rate": 1e-3, "grad_norm": 0.5, **more}


def test_flops_of_a_token_are_those_of_the_literature() -> None:
    """PaLM's appendix B writes 6 N + 12 L H Q T; Llama 2's 7B at 4096 is 4.5e10 by it."""
    llama = ModelConfig(32_000, 4096, 11_008, 32, 32, 32, 4096)
    embeddings = 32_000 * 4096
    assert flops_per_token(llama, 4096) == 6 * (6_738_415_616 - embeddings) + 12 * 32 * 32 * 128 * 4096
    tied = ModelConfig(32_000, 4096, 11_008, 32, 32, 32, 4096, tied=True)
    assert flops_per_token(tied, 4096) == flops_per_token(llama, 4096), "a head is multiplied, whether it is a table of its own or not"


def test_the_note_holds_utilisation_against_the_stated_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(room.time, "monotonic", lambda: float(next(clock)) / 2)
    told = Watch((), 2e9, 10.0)  # 2 GFLOP a token on 10 TFLOP/s: 5,000 tokens/s are all of it
    notes = [told.add(row(step)) for step in range(3)]
    assert notes[-1].startswith("loss 2.800  2,000 tokens/s  40.0% of peak  ") and notes[-1].endswith(" GB  rate 1.00e-03")
    assert "batch passed over" in told.add(row(3, loss=None, grad_norm=None, skipped=True))
    assert "peak" not in Watch((), 2e9, None).add(row(0))


def read_tensorboard(folder: Path) -> dict[tuple[str, int], float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard/pretrain-1"))
    events.Reload()
    return {(name, event.step): event.value for name in events.Tags()["scalars"] for event in events.Scalars(name)}


def read_trackio(folder: Path) -> dict[tuple[str, int], float]:
    (file,) = (folder / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        found = [(step, json.loads(values)) for step, values in database.execute("select step, metrics from metrics")]
    return {(name, step): value for step, values in found for name, value in values.items()}


@pytest.mark.parametrize(("name", "read"), [("tensorboard", read_tensorboard), ("trackio", read_trackio)])
def test_loggers_keep_every_step_on_this_machine(name: str, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec(name) is None:
        pytest.skip(f"needs {name}: pip install 'medloom[{name}]'")
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/else")
    calls: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda own, address: calls.append(address))
    opened = partial(watch, Training(loggers=(name,)), Watching(tmp_path, "meditron", "pretrain-1", 1.0), 1e6, {"rate": 1e-3})
    with opened(0) as told:
        for step in range(3):
            told.add(row(step, heldout={"medical": 2.5, "general": 3.5}) if step == 2 else row(step))
    with opened(3) as told:
        told.add(row(3, loss=None, grad_norm=None, skipped=True))
        told.add(row(4))
    found = read(tmp_path)
    assert {step: value for (key, step), value in found.items() if key == "loss"} == pytest.approx({0: 3.0, 1: 2.9, 2: 2.8, 4: 2.6})
    assert found["heldout/medical", 2] == 2.5 and found["heldout/general", 2] == 3.5
    assert found["utilisation", 1] == pytest.approx(found["tokens_per_second", 1] * 1e6 / 1e12, rel=1e-4)
    assert calls == [] and capsys.readouterr().out == "", "nothing leaves the machine, and standard output is the verb's own"


@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("trackio", "trackio")])
def test_a_logger_that_is_not_installed_is_named_with_the_cure(name: str, module: str, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Refusal, match=rf"{name} is not installed here; pip install 'medloom\[{name}\]'"), \
            watch(Training(loggers=(name,)), Watching(tmp_path, "p", "r", 1.0), 1e6, {}, 0):
        pass


def test_the_picture_is_the_same_for_the_same_run_and_stands_what_runs_go_through(tmp_path: Path) -> None:
    rows = [row(step, loss=2 + math.exp(-step / 20), grad_norm=1 + 40 * math.exp(-step / 5)) for step in range(200)]
    for step in (99, 199):
        rows[step]["heldout"] = {"medical": 2.1, "general": 2.4}
    rows[50] |= {"loss": None, "grad_norm": None, "skipped": True}
    pictures = []
    for name in ("a", "b"):
        draw_curves(rows, tmp_path / name, "Continued pretraining")
        pictures.append((tmp_path / name / "curves.png").read_bytes())
    assert pictures[0] == pictures[1] and pictures[0].startswith(b"\x89PNG")
    for short in (rows[:1], rows[50:51], rows[:2]):
        draw_curves(short, tmp_path / "short", "Finetuning")
    assert {path.name for path in (tmp_path / "short").iterdir()} == {"curves.png"}
