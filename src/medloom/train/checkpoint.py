"""Where a run stands: weights, the optimiser's averages and the step, in folders that are whole or absent.

`state/step-00000120/` is a torch distributed checkpoint (every rank writes its share, any layout reads it) with checkpoint.json: the step,
which run it is of, and the SHA-256 of every file. It is written beside under a temporary name while training goes on, and renamed once
all of it is on the disk; only then older ones go. Metrics are lines of `state/metrics.jsonl`, one a step; lines of steps that a kill
undid are cut off on resuming.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from ..ledger import Refusal
from ..ledger.files import read_json, sha256_file, write_json
from ..model import local
from .mesh import Ranks

# torch says so each time a process that is alone saves or loads, although it is told.
warnings.filterwarnings("ignore", message="torch.distributed is disabled", module="torch.distributed.checkpoint")
AVERAGES = ("exp_avg", "exp_avg_sq")
FILE = "checkpoint.json"


class Checkpoints:
    """The checkpoints of one run. Every rank of it calls the same methods in the same order."""

    def __init__(self, state: Path, ranks: Ranks, parameters: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer,
                 identity: Mapping[str, Any], keep_last: int = 2, keep_every: int | None = None) -> None:
        self.state, self.ranks, self.parameters, self.optimiser = state, ranks, parameters, optimiser
        self.identity, self.keep_last, self.keep_every = dict(identity), keep_last, keep_every
        self.damaged: list[Path] = []
        # Its own group: on that of the training the two would take each other's messages.
        self._group = dist.new_group(backend="gloo") if ranks.mesh is not None else None
        self._writing: threading.Thread | None = None
        self._failure: BaseException | None = None
        self.copied = 0  # bytes of the copy that is being written
        state.mkdir(parents=True, exist_ok=True)

    def restore(self) -> int:
        """Put the newest whole checkpoint into weights and optimiser; how many steps were done, 0 where there is none.

        One that is damaged is passed over and named in `damaged`. Raises Refusal where it is of another run, or where there are
        checkpoints and none is whole.
        """
        found = self.ranks.share(self._newest() if self.ranks.first else None)
        if isinstance(found, str):
            raise Refusal(found)
        self.damaged = [self.state / name for name in found["damaged"]]
        if found["name"] is None:
            return 0
        tensors = self._tensors()
        load(tensors, storage_reader=FileSystemReader(self.state / found["name"]), process_group=self._group, no_dist=self._group is None)
        for state in self.optimiser.state.values():
            state["step"].fill_(float(found["updates"]))
        return int(found["step"])

    def save(self, step: int, updates: int, metrics: Metrics | None = None) -> None:
        """Begin to keep the state after `step` steps, of which `updates` changed the weights; returns once it has a copy in memory.

        Waits for the one before, and raises what stopped that, a full disk for instance.
        """
        self.finish()
        if metrics is not None:
            metrics.flush_to_disk()
        temporary = self.state / f".step-{step:08d}.tmp"
        if self.ranks.first:
            for left in self.state.glob(".step-*.tmp"):
                shutil.rmtree(left)
            temporary.mkdir()
        if self._group is not None:
            dist.barrier(self._group)
        tensors = self._tensors()
        self.copied = sum(local(tensor).nbytes for tensor in tensors.values())
        future: Any = async_save(tensors, storage_writer=FileSystemWriter(temporary, sync_files=True),
                                     process_group=self._group, no_dist=self._group is None)
        self._writing = threading.Thread(target=self._complete, args=(future, temporary, step, updates))
        self._writing.start()

    def finish(self) -> None:
        """Wait until what was begun is on the disk."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _complete(self, future: Any, temporary: Path, step: int, updates: int) -> None:
        """Behind the training: wait for the files, name their digests, rename."""
        failure: BaseException | None = None
        digests: dict[str, str] = {}
        try:
            future.result()
            rank = 0 if self._group is None else dist.get_rank()
            digests = {path.name: sha256_file(path) for path in temporary.glob(f"__{rank}_*")}
            self.copied = 0
        except BaseException as error:  # handed to whoever waits for it, on every rank
            # torch's writer says of a full disk anything but that.
            full = shutil.disk_usage(self.state).free < sum(tensor.nbytes for tensor in self._tensors().values())
            failure = OSError(errno.ENOSPC, "No space left on device", str(self.state)) if full else error
        gathered: list[Any] = [(digests, failure is None)]
        try:
            if self._group is not None:
                gathered = [None] * dist.get_world_size()
                dist.all_gather_object(gathered, (digests, failure is None), group=self._group)
            if self.ranks.first and all(whole for _, whole in gathered):
                self._publish(temporary, step, updates, {name: digest for found, _ in gathered for name, digest in found.items()})
        except BaseException as error:
            failure = failure or error
        if failure is None and not all(whole for _, whole in gathered):
            failure = OSError(f"{temporary}: another rank could not write its share of the checkpoint")
        if failure is not None and self.ranks.first:
            shutil.rmtree(temporary, ignore_errors=True)
        self._failure = failure

    def _publish(self, temporary: Path, step: int, updates: int, digests: dict[str, str]) -> None:
        digests[".metadata"] = sha256_file(temporary / ".metadata")
        write_json(temporary / FILE, {"step": step, "updates": updates, "identity": self.identity, "files": digests,
                                      "layout": self.ranks.layout.model_dump(mode="json")})
        final = self.state / f"step-{step:08d}"
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        _sync_folder(self.state)
        kept = sorted(self.state.glob("step-*"))
        for old in kept[: -self.keep_last]:
            if not self.keep_every or int(old.name.removeprefix("step-")) % self.keep_every:
                shutil.rmtree(old)

    def _newest(self) -> dict[str, Any] | str:
        """The newest checkpoint that is whole, or what is wrong."""
        damaged: list[str] = []
        folders = sorted(self.state.glob("step-*"), reverse=True)
        for folder in folders:
            found = read_json(folder / FILE)
            files = found.get("files", {})
            if not files or any(not (folder / name).is_file() or sha256_file(folder / name) != digest for name, digest in files.items()):
                damaged.append(folder.name)
                continue
            if found["identity"] != self.identity:
                other = sorted(key for key in self.identity if found["identity"].get(key) != self.identity[key])
                return f"{folder}: a checkpoint of a run with another {', '.join(other) or 'form'}; delete {self.state} to start afresh"
            return {"name": folder.name, "step": found["step"], "updates": found["updates"], "damaged": damaged}
        if damaged:
            return f"{folders[0]}: no checkpoint here is whole ({', '.join(damaged)}); delete {self.state} to start afresh"
        return {"name": None, "damaged": []}

    def _tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds, in place: the weights that are learned and their averages, each under its name."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            if not parameter.requires_grad:
                continue
            state = self.optimiser.state[parameter]
            if not state:  # before the first step: what AdamW would begin with
                state["step"] = torch.zeros((), dtype=torch.float32, device=self.ranks.device)
                state.update({average: torch.zeros_like(parameter) for average in AVERAGES})
            tensors[f"weight.{name}"] = parameter.detach()
            tensors |= {f"{average}.{name}": state[average] for average in AVERAGES}
        return tensors


class Metrics:
    """One JSON line a step, without a clock, so that a resumed run leaves the same bytes as one that was left alone."""

    def __init__(self, state: Path, done: int) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self.path = state / "metrics.jsonl"
        self.path.touch()
        self._stream = self.path.open("rb+")
        self.before: list[dict[str, Any]] = [json.loads(self._stream.readline()) for _ in range(done)]
        self._stream.truncate()

    def add(self, row: dict[str, Any]) -> None:
        """Append a step."""
        self._stream.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._stream.flush()

    def flush_to_disk(self) -> None:
        """Before each checkpoint: then none ever knows more steps than there are lines."""
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close; the file stays."""
        self._stream.close()


def _sync_folder(folder: Path) -> None:
    """Have a rename survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
