"""A job small enough to see through: ranks that add up their numbers over gloo, or fail in one of many ways. Run by `test_launch.py`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from medloom.ledger import Progress, Refusal, Stopped
from medloom.train.worker import take_part

FOLDER, MODE = Path(sys.argv[1]), sys.argv[2]


def ring(progress: Progress) -> Mapping[str, Any]:
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda got, frame: asked.append(got))
    dist.init_process_group("gloo")
    rank, total = dist.get_rank(), torch.tensor([dist.get_rank() + 1])
    dist.all_reduce(total)
    if MODE == "raise" and rank == 1:
        raise ValueError("the second rank has found a stone in its shoe")
    if MODE == "kill" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if MODE == "refuse":
        raise Refusal("length = 4096 is more than the 64 positions of the model; set it to 64 or less")
    (FOLDER / f"pid-{rank}").write_text(str(os.getpid()))
    with progress.task("ring", total=2, unit="rounds") as task:
        while MODE in ("wait", "raise", "kill"):
            stop = torch.tensor([len(asked)])
            dist.all_reduce(stop)  # one rank's signal is enough
            if stop.item():
                raise Stopped(f"stopped by {signal.Signals(asked[0]).name if asked else 'another rank'}; run again to go on")
            time.sleep(0.02)
        task.advance(2, f"sum {total.item()}")
    return {"sum": total.item(), "ranks": dist.get_world_size()}


take_part(ring, FOLDER, "quiet" if "--launched" in sys.argv else None)
