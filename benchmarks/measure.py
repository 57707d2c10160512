"""Measuring two sides in turns, and what is printed and written of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, TypeVar

import medloom

T = TypeVar("T")
B = TypeVar("B", bound="Bench")
SLICE = 1.0  # seconds
_STARTED: list[subprocess.Popen[str]] = []
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sample:
    """One run of one side: seconds of CPU and on the wall, peak MB, and what the work gave."""

    cpu: float
    wall: float
    peak_mb: float
    result: Any


@dataclass(frozen=True)
class Row:
    """A line of the table. `ours` and `peer` are medians in `unit`; `goal` is of what the unit or the note says.

    `ours` and `met` are None where this machine cannot do the work; the note says why.
    """

    work: str
    ours: float | None
    peer: float | None
    unit: str
    ratio: float | None
    goal: float
    met: bool | None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def side(which: str, interpreter: Path, work: str, **arguments: Any) -> Sample:
    """Run `work` of the module `sides.<which>` under an interpreter, in a process of its own. One thread a side: rates are per core."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(Path(medloom.__file__).parents[1])]),
                   "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    if which.endswith("peers"):
        environment["PYTHONPATH"] = str(HERE)
    given = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    process = subprocess.Popen([interpreter, "-m", f"sides.{which}", work, json.dumps(given)], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    _STARTED.append(process)
    said, complained = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{which}: {work} failed under {interpreter}:\n{said[-2000:]}{complained[-4000:]}")
    return Sample(**json.loads(said.strip().splitlines()[-1]))


def in_slices(repeat: int, *sides: Callable[[], T]) -> list[list[T]]:
    """Run the sides at once, `repeat` times, but only ever one of them for SLICE seconds while the others are held.

    A processor that grows slower for a minute then slows all sides alike. Only their CPU seconds mean anything.
    """
    samples: list[list[T]] = [[] for _ in sides]
    for _ in range(repeat):
        _STARTED.clear()
        with ThreadPoolExecutor(len(sides)) as threads:
            running = [threads.submit(one) for one in sides]
            while not all(one.done() for one in running):
                alive = [process for process in _STARTED if process.poll() is None]
                for chosen in alive:
                    for process in alive:
                        process.send_signal(signal.SIGCONT if process is chosen else signal.SIGSTOP)
                    time.sleep(SLICE)
                time.sleep(0.01)
            for done, one in zip(samples, running, strict=True):
                done.append(one.result())
    return samples


def in_turns(repeat: int, *sides: Callable[[], T]) -> list[list[T]]:
    """Run the sides one after the other, `repeat` times round, so that what else the machine does falls on all alike."""
    samples: list[list[T]] = [[] for _ in sides]
    for _ in range(repeat):
        for done, one in zip(samples, sides, strict=True):
            done.append(one())
    return samples


def middle(samples: Sequence[Any], figure: str = "cpu") -> float:
    """The median of a figure of the samples."""
    return median(getattr(sample, figure) for sample in samples)


def rates(work: str, amount: float, unit: str, ours: Sequence[Sample], peer: Sequence[Sample], goal: float, note: str = "",
          met: bool = True, **details: Any) -> Row:
    """A row of amount per CPU second, whose goal is on the ratio; `met` says what else had to hold."""
    ratio = middle(peer) / middle(ours)
    seconds = {"ours_cpu_seconds": [sample.cpu for sample in ours], "peer_cpu_seconds": [sample.cpu for sample in peer],
               "ours_peak_mb": middle(ours, "peak_mb"), "peer_peak_mb": middle(peer, "peak_mb")}
    return Row(work, amount / middle(ours), amount / middle(peer), unit, ratio, goal, met and ratio >= goal, note, {**seconds, **details})


@dataclass(frozen=True)
class Bench:
    """What a row is given: real input, the peers' interpreter, rounds, and a folder for what it makes. `sides` names both modules."""

    data: Path
    peers: Path
    repeat: int | None
    folder: Path

    sides: ClassVar[str]

    def rounds(self, usual: int) -> int:
        """Rounds to measure: what was asked for, else the row's usual number."""
        return self.repeat or usual

    def ours(self, work: str, **arguments: Any) -> Callable[[], Sample]:
        return lambda: side(f"{self.sides}_ours", Path(sys.executable), work, **arguments)

    def peer(self, work: str, **arguments: Any) -> Callable[[], Sample]:
        return lambda: side(f"{self.sides}_peers", self.peers, work, **arguments)


def measure_rows(bench: type[B], rows: Mapping[str, Callable[[B], Row]], about: str, peers: str, *, dataless: Collection[str] = (),
                 peerless: Collection[str] = ()) -> int:
    """Measure what the command line asks for, print the table, write the rows; exit code 1 where a goal is not met.

    peers: where their interpreter is by default. dataless, peerless: the rows that need no real input, no peers. A row that could not be
    measured here does not take the place of one that was.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=rows, default=list(rows), metavar="ROW", help=f"among {', '.join(rows)}")
    parser.add_argument("--data", type=Path, default=Path("data"), help="real input [default: data]")
    parser.add_argument("--peers", type=Path, default=Path(peers), help=f"the peers' interpreter [default: {peers}]")
    parser.add_argument("--repeat", type=int, help="rounds [default: each row's own]")
    parser.add_argument("--json", type=Path, help="write the rows here; rows of other works in it stay")
    parser.add_argument("--work", type=Path, help="a folder with room for some GB, 30 for rows on a GPU [default: a temporary one]")
    asked = parser.parse_args()
    for path, cure, without in ((asked.data / "corpus", "--data", dataless), (asked.peers, "--peers", peerless)):
        if {*asked.only} - {*without} and not path.exists():
            parser.error(f"{path}: not there; say where with {cure}")

    def one(name: str) -> Row:
        with tempfile.TemporaryDirectory(dir=asked.work, prefix=f"{bench.sides}-benchmark-") as folder:
            # absolute, but not resolved: an environment's interpreter is a link that must stay one
            return rows[name](bench(asked.data.absolute(), asked.peers.absolute(), asked.repeat, Path(folder)))

    return measure_all(asked.only, one, asked.json, asked.peers.absolute() if asked.peers.exists() else None)


def measure_all(names: Sequence[str], one: Callable[[str], Row], path: Path | None, peers: Path | None) -> int:
    """Measure the named rows, print the table, write each row to `path` at once; exit code 1 where a goal is not met."""
    measured = []
    for name in dict.fromkeys(names):
        measured.append(row := one(name))
        print_table([row])
        sys.stdout.flush()
        if path and (row.met is not None or name not in {held["work"] for held in _held(path)}):
            write_rows(path, [row], whereabouts(peers))
    print()
    print_table(measured)
    return 0 if all(row.met is not False for row in measured) else 1


def print_table(rows: Sequence[Row]) -> None:
    """The rows as a table, notes below."""
    form = "{:<17} {:>10} {:>10}  {:<20} {:>7} {:>7}  {}"
    print(form.format("work", "ours", "peer", "unit", "ratio", "goal", "met"))
    for row in rows:
        numbers = ["-" if value is None else f"{value:,.2f}" if value < 100 else f"{value:,.0f}"
                   for value in (row.ours, row.peer, row.ratio)]
        met = {True: "yes", False: "NO", None: "-"}[row.met]
        print(form.format(row.work, *numbers[:2], row.unit, numbers[2], f"{row.goal:g}", met))
    for row in rows:
        if row.note:
            print(f"  {row.work}: {row.note}")


def write_rows(path: Path, rows: Sequence[Row], where: dict[str, Any]) -> None:
    """Write the rows as a JSON list, each with when and where it was measured; rows of other works that the file holds stay."""
    fresh = [{**row.__dict__, **where} for row in rows]
    kept = [row for row in _held(path) if row["work"] not in {row["work"] for row in fresh}]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept + fresh, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _held(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def whereabouts(peers: Path | None) -> dict[str, Any]:
    """Date, commit, machine and the versions on both sides."""
    import platform
    from datetime import UTC, datetime

    def said(*command: str | Path) -> str:
        done = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
        return done.stdout.strip() if not done.returncode else ""

    model = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    ask = ("import importlib.metadata as m, json, sys; print(json.dumps({d.metadata['Name']: d.version for d in m.distributions() "
           "if d.metadata['Name'] in sys.argv[1].split()}))")
    watched = ("medloom lxml pyarrow rensa sentencepiece tiktoken tokenizers pypdfium2 pubmed_parser datatrove pypdf numpy "
               "torch transformers accelerate litgpt lightning safetensors gguf xllamacpp llama_cpp_python starlette uvicorn uvloop "
               "httptools httpx playwright")
    versions = {name: json.loads(said(python, "-c", ask, watched) or "{}")
                for name, python in (("ours", Path(sys.executable)), ("peers", peers)) if python}
    return {"measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "commit": said("git", "describe", "--always", "--dirty"),
            "machine": {"processor": model[0] if model else platform.processor(), "cores": len(os.sched_getaffinity(0)),
                        "python": platform.python_version(), "system": platform.platform()},
            "versions": versions}
