"""One rank of a job: how it learns that it is to stop, and how it says what became of it.

A rank leaves a file in the job's folder, `ranks/rank-00003.json`, when it does not end well, for the process that started all of them
sees no more than exit codes. Under `launch` its standard input is a channel from that process: a word on it asks the job
to stop, and its end means that the process is gone, so that no rank outlives it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from ..ledger import STOPPED, Bars, Progress, Refusal, Silent, Stopped
from ..ledger.files import write_json

FIGURES, RANKS = "figures.json", "ranks"
DONE, FAILED, REFUSED = 0, 1, 2

Launched = Literal["bars", "quiet"]


def take_part(work: Callable[[Progress], Mapping[str, Any]], folder: Path, launched: Launched | None) -> NoReturn:
    """Do a rank's work and end the process: with DONE, or FAILED, REFUSED or STOPPED after saying why.

    folder: the job's, in which rank 0 leaves `figures.json`. launched: that `launch` started this process, and whether rank 0 shows how
    far it is; None where torchrun was started by hand.
    """
    from torch.distributed.elastic.multiprocessing.errors import record

    rank = int(os.environ.get("RANK", "0"))
    if launched:
        threading.Thread(target=_obey, daemon=True).start()
        if rank == 0:
            # Standard output of `launch` is the user's standard error. What C++ writes to file descriptor 2 goes to the rank's log.
            sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)
    progress: Progress = Bars() if rank == 0 and launched != "quiet" else Silent()

    def ended() -> Mapping[str, Any] | Refusal | Stopped:
        try:
            return work(progress)
        except (Refusal, Stopped) as end:
            return end  # not raised: `record` would keep it as a failure, with a traceback

    try:
        end = record(ended)()
    except Exception as error:
        _say(folder, rank, "failed", "".join(traceback.format_exception(error)))
        _leave(FAILED)
    if isinstance(end, Stopped):
        _say(folder, rank, "stopped", str(end))
        _leave(STOPPED)
    if isinstance(end, Refusal):
        _say(folder, rank, "refused", str(end))
        if launched is None:
            sys.stderr.write(f"medloom: rank {rank}: {end}\n")
        _leave(REFUSED)
    if rank == 0:
        write_json(folder / FIGURES, end)
    _leave(DONE)


def _say(folder: Path, rank: int, how: str, text: str) -> None:
    write_json(folder / RANKS / f"rank-{rank:05d}.json",
               {"rank": rank, "host": socket.gethostname(), "pid": os.getpid(), "time": time.time(), "how": how, "text": text})


def _leave(code: int) -> NoReturn:
    """End at once: the destructors of a process group wait for ranks that may be gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _obey() -> None:
    """Ask for a stop, as SIGTERM does, when standard input says so, and end with it. The ranks of a host share one pipe: a word on it
    reaches one of them, and the loop has all agree.
    """
    while os.read(0, 64):
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(FAILED)
