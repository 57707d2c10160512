"""How a run can be watched while it goes: a note for the progress line, and TensorBoard or trackio, both on this machine alone.

What loggers keep lies beside the steps of a run and is no output of them: it has clocks in it, and metrics.jsonl says the rest.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from ..ledger import Refusal
from ..recipe import Training

RECENT = 50  # steps over which the speed is told
# What would have trackio send metrics to somebody.
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_WEBHOOK_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")


class Logger(Protocol):
    """Where a run's numbers go to be looked at."""

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Say once what the run is."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Keep the values of a step."""

    def close(self) -> None:
        """Write what is still in memory."""


@dataclass(frozen=True)
class Watching:
    """Where loggers keep a run, under which name among others, and `peak_tflops` of all its accelerators together."""

    folder: Path
    project: str
    run: str
    peak_tflops: float


class Watch:
    """Takes each step's row and says in a line how the run stands."""

    def __init__(self, loggers: Sequence[Logger], flops_per_token: float, peak_tflops: float | None) -> None:
        self._loggers, self._flops, self._peak = loggers, flops_per_token, peak_tflops
        self._steps: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=RECENT + 1)

    def add(self, row: Mapping[str, Any]) -> str:
        """Hand a row of metrics to the loggers, with speed, memory and, of a stated peak, utilisation; a note of it for people."""
        self._steps.append((time.monotonic(), int(row["tokens"])))
        seconds = self._steps[-1][0] - self._steps[0][0]
        speed = sum(tokens for _, tokens in list(self._steps)[1:]) / max(seconds, 1e-9)
        now = {"tokens_per_second": speed, "memory_gb": _memory_gb()}
        words = [f"loss {row['loss']:.3f}" if row["loss"] is not None else "batch passed over", f"{speed:,.0f} tokens/s"]
        if self._peak is not None:
            now["utilisation"] = speed * self._flops / (self._peak * 1e12)
            words.append(f"{now['utilisation']:.1%} of peak")
        for logger in self._loggers:
            logger.add(int(row["step"]), {**_flat(row), **now})
        return "  ".join([*words, f"{now['memory_gb']:.1f} GB", f"rate {row['rate']:.2e}"])


@contextmanager
def watch(settings: Training, watching: Watching | None, flops_per_token: float, about: Mapping[str, Any], first: int) -> Iterator[Watch]:
    """Open what `settings.loggers` names, for a run that begins or goes on at step `first`, and close it at the end.

    about: what the loggers are told of the run. Without `watching` there are no loggers, and the peak is unknown. Raises Refusal
    where a logger is not installed.
    """
    with ExitStack() as stack:
        loggers: list[Logger] = []
        for name in settings.loggers if watching is not None else ():
            assert watching is not None
            logger = LOGGERS[name](watching, first)
            stack.callback(logger.close)
            logger.describe(about)
            loggers.append(logger)
        yield Watch(loggers, flops_per_token, watching.peak_tflops if watching is not None else None)


class TensorBoard:
    """Event files in `tensorboard/RUN`: tensorboard --logdir FOLDER/tensorboard."""

    def __init__(self, watching: Watching, first: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("tensorboard") from None
        # What a kill undid is not shown twice.
        self._writer = SummaryWriter(watching.folder / "tensorboard" / watching.run, purge_step=first)

    def describe(self, settings: Mapping[str, Any]) -> None:
        """As a table of text."""
        lines = ["| setting | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in settings.items())]
        self._writer.add_text("settings", "\n".join(lines))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar each."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class Trackio:
    """An SQLite file in `trackio`: TRACKIO_DIR=FOLDER/trackio trackio show --project PROJECT."""

    def __init__(self, watching: Watching, first: int) -> None:
        for name in ELSEWHERE:
            os.environ.pop(name, None)
        os.environ |= {"TRACKIO_DIR": str(watching.folder / "trackio"), "HF_HUB_OFFLINE": "1"}  # read when it is imported
        try:
            import trackio
        except ImportError:
            raise _missing("trackio") from None
        self._trackio, self._watching = trackio, watching

    def describe(self, settings: Mapping[str, Any]) -> None:
        """As the run's configuration."""
        with redirect_stdout(StringIO()):  # it chatters there
            self._run = self._trackio.init(self._watching.project, self._watching.run, config=dict(settings), resume="allow",
                                           auto_log_gpu=False, auto_log_cpu=False, embed=False)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """A row."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Wait until the rows are written."""
        with redirect_stdout(StringIO()):
            self._trackio.finish()  # not the run's own, which would be called again at the end of the process


LOGGERS: dict[str, Callable[[Watching, int], Logger]] = {"tensorboard": TensorBoard, "trackio": Trackio}


def _missing(name: str) -> Refusal:
    return Refusal(f"loggers: {name} is not installed here; pip install 'medloom[{name}]', or take it out of loggers")


def _flat(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row, those of a table in it named TABLE/KEY."""
    flat: dict[str, float] = {}
    for name, value in row.items():
        inner = {f"{name}/{key}": number for key, number in value.items()} if isinstance(value, Mapping) else {name: value}
        flat |= {key: float(number) for key, number in inner.items() if number is not None and key != "step"}
    return flat


def _memory_gb() -> float:
    """The most that this process has held so far, on its accelerator where it has one; gigabytes of 1e9 bytes."""
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return torch.cuda.max_memory_allocated() / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
