"""Where a run stands: float32 weights, the optimiser's averages and the step, in folders that are whole or absent.

`state/step-00000120/` holds tensors.safetensors and checkpoint.json. It is written under a temporary name, flushed and
renamed; only then the one before it is removed. Metrics are lines of `state/metrics.jsonl`, one a step; lines of steps that a
kill undid are cut off on resuming. One process; layouts come later.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..ledger import Refusal
from ..ledger.files import write_json

AVERAGES = ("exp_avg", "exp_avg_sq", "step")


def save(state: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int, identity: dict[str, Any]) -> None:
    """Keep the state after `step` optimiser steps. `identity` says which run this is."""
    state.mkdir(parents=True, exist_ok=True)
    final, temporary = state / f"step-{step:08d}", state / f".step-{step:08d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    tensors: dict[str, Tensor] = {}
    for name, weight in _trained(model):
        tensors[f"weight.{name}"] = weight.detach().cpu().contiguous()
        for average in AVERAGES:
            tensors[f"{average}.{name}"] = optimiser.state[weight][average].detach().cpu().contiguous()
    save_file(tensors, temporary / "tensors.safetensors")
    with (temporary / "tensors.safetensors").open("rb+") as stream:
        os.fsync(stream.fileno())
    write_json(temporary / "checkpoint.json", {"step": step, "identity": identity})
    shutil.rmtree(final, ignore_errors=True)
    temporary.rename(final)
    for old in state.glob("*step-*"):
        if old != final:
            shutil.rmtree(old)


def restore(state: Path, model: nn.Module, optimiser: torch.optim.Optimizer, identity: dict[str, Any]) -> int:
    """Put the newest checkpoint into the model and the optimiser; how many steps were done, 0 where there is none.

    Raises Refusal where it is of another run.
    """
    folders = sorted(state.glob("step-*"))
    if not folders:
        return 0
    found = json.loads((folders[-1] / "checkpoint.json").read_text())
    if found["identity"] != identity:
        other = sorted(key for key in identity if found["identity"].get(key) != identity[key])
        raise Refusal(f"{folders[-1]}: a checkpoint of a run with another {', '.join(other) or 'form'}; delete {state} to start afresh")
    tensors = load_file(folders[-1] / "tensors.safetensors")
    with torch.no_grad():
        for name, weight in _trained(model):
            weight.copy_(tensors[f"weight.{name}"])
            # Fused AdamW keeps its count of steps beside the weights, the averages likewise.
            optimiser.state[weight] = {average: tensors[f"{average}.{name}"].to(weight.device) for average in AVERAGES}
    return int(found["step"])


def _trained(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """What changes: beside an adapter the network is as its folder has it."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)


class Metrics:
    """One JSON line a step, without a clock, so that a resumed run leaves the same bytes as one that was left alone."""

    def __init__(self, state: Path, done: int) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.path = state / "metrics.jsonl"
        self.path.touch()
        self._stream = self.path.open("rb+")
        self.rows: list[dict[str, float]] = [json.loads(self._stream.readline()) for _ in range(done)]
        self._stream.truncate()

    def add(self, row: dict[str, float]) -> None:
        """Append a step."""
        self.rows.append(row)
        self._stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._stream.flush()

    def flush_to_disk(self) -> None:
        """Before each checkpoint: then none ever knows more steps than there are lines."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close; the file stays."""
        self._stream.close()
