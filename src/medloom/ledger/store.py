"""A ledger on disk: the folder of each step, its record, and the chain that binds the records.

    ROOT/steps/<name>-<digest>/      what a step wrote, and record.json once it is whole
    ROOT/steps/<name>-<digest>/.state/   what an unfinished step goes on from
    ROOT/ledger.jsonl                one line per finished step or walked road, each with the SHA-256 of the line before
    ROOT/latest/<name>               links to the steps of the last road
    ROOT/files.sqlite                digests of files outside, by path, size and time of change (a cache, safe to delete)
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path
from typing import Any

from .files import files_at, sha256_file, sha256_json, write_json
from .meter import Meter, environment, hardware
from .progress import Progress
from .refusal import Refusal
from .step import Step, Workspace, ancestry, code_digest

RECORD, STATE = "record.json", ".state"
SIGNATURE = "model.sig"  # as OpenSSF model signing calls it: the folder's, and no output of its step
REMOVED = ".removed"
GENESIS = "0" * 64
SETTLED = 2_000_000_000  # nanoseconds: a file that changed less long ago may change again without its time telling


@dataclass(frozen=True)
class Done:
    """A whole step: where it lies, its record, and whether it was run just now."""

    folder: Path
    record: Mapping[str, Any]
    fresh: bool

    @property
    def figures(self) -> Mapping[str, Any]:
        """What the step's work returned."""
        figures: Mapping[str, Any] = self.record["figures"]
        return figures


class Ledger:
    """Runs steps below `root`, each once. `watts` stands in for a power meter where the machine has none."""

    def __init__(self, root: Path, watts: float = 100.0) -> None:
        self.root = root
        self.watts = watts
        self._checked: set[Path] = set()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the ledger for writing; a second writer is refused. Finished steps that the chain lacks are entered."""
        try:
            (self.root / "steps").mkdir(parents=True, exist_ok=True)
            lock = (self.root / ".lock").open("a+")
        except OSError as error:
            raise Refusal(f"{self.root}: cannot keep a ledger here: {error.strerror}; choose another folder with --out") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                holder = lock.read().strip() or "another process"
                raise Refusal(f"{self.root}: another medloom is running here ({holder}); wait for it or choose another folder with --out"
                              ) from None
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()} since {_now()}")
            lock.flush()
            self._mend_chain()
            yield

    def walk(self, targets: Sequence[Step], progress: Progress, title: str = "") -> Iterator[tuple[Step, Done]]:
        """Make every step that the targets rest on whole, in order, and yield each as it is. Needs `opened`."""
        done: dict[Step, Done] = {}
        steps = ancestry(targets)
        for step in steps:
            done[step] = self._make(step, done, progress)
            yield step, done[step]
        entry = {"kind": "road", "title": title, "steps": [done[step].folder.name for step in steps]}
        roads = [line for line in self.chain() if line["kind"] == "road"]
        if not roads or any(roads[-1][key] != entry[key] for key in entry):
            self._append(entry)
        self._link({step.name: done[step].folder for step in steps})

    def _make(self, step: Step, done: Mapping[Step, Done], progress: Progress) -> Done:
        digests: dict[str, str] = {}
        places: dict[str, Path] = {}
        described: dict[str, Any] = {}
        for name, needed in step.inputs.items():
            if isinstance(needed, Step):
                digests[name], places[name] = done[needed].record["output_digest"], done[needed].folder
                described[name] = {"step": done[needed].folder.name, "digest": digests[name]}
            else:
                digests[name], places[name] = self.digest_of(needed), needed
                described[name] = {"path": str(needed), "digest": digests[name]}
        digest = step.digest(digests)
        folder = self.root / "steps" / f"{step.name}-{digest[:12]}"
        record = read_record(folder)
        if record is not None:
            if _whole(folder, record):
                return Done(folder, record, fresh=False)
            self._append({"kind": "set aside", "folder": folder.name})
            _set_aside(folder)
        for needed in step.inputs.values():
            if isinstance(needed, Step):
                self._check(done[needed])
        state = folder / STATE
        state.mkdir(parents=True, exist_ok=True)
        for leftover in folder.rglob(".*.tmp"):
            if leftover.is_file():  # a folder is a checkpoint cut short, for training to clear away
                leftover.unlink()
        attempts = state / "attempts.jsonl"
        with attempts.open("a") as log:
            torn = attempts.stat().st_size and not attempts.read_bytes().endswith(b"\n")  # a full disk or a kill cut the last one short
            log.write("\n" * torn + json.dumps({"started": _now()}) + "\n")
        earlier = [json.loads(line) for line in attempts.read_text().splitlines()[:-1] if line.endswith("}")]
        started = _now()
        with Meter(self.watts) as meter:
            figures = step.work(Workspace(folder, state, places, progress))
        outputs = _outputs(folder)
        lasting = {path: o["sha256"] for path, o in outputs.items() if not any(fnmatch(path, pattern) for pattern in step.measured)}
        record = {
            "name": step.name, "digest": digest, "code": code_digest(step.rooms), "rooms": list(step.rooms),
            "params": dict(step.params), "inputs": described, "outputs": outputs, "output_digest": sha256_json(lasting),
            "figures": dict(figures), "started": started, "finished": _now(), "earlier_attempts": earlier,
            "wall_seconds": meter.wall_seconds, "cpu_seconds": meter.cpu_seconds, "peak_mb": meter.peak_mb, "energy": meter.energy,
            "environment": environment(), "hardware": hardware(),
        }
        write_json(folder / RECORD, record)
        shutil.rmtree(state)
        self._enter(folder)
        return Done(folder, json.loads((folder / RECORD).read_text()), fresh=True)

    def _check(self, done: Done) -> None:
        """Before anything is built on a step from an earlier run, hold its outputs against its record, once a walk."""
        if done.fresh or done.folder in self._checked:
            return
        faults = altered(done.folder, done.record)
        if faults:
            raise Refusal(f"{faults[0]}, so nothing can be built on it; remove {done.folder} and give the same command, to make it anew")
        self._checked.add(done.folder)

    def digest_of(self, path: Path) -> str:
        """SHA-256 of a file, or of the names and digests of all files of a folder or pattern. Refused where there is none."""
        files = files_at(path)
        if not files:
            raise Refusal(f"{path}: no such file or folder" if not path.exists() else f"{path}: holds no file")
        digests = self._digest_files(list(files.values()))
        return digests[0] if path.is_file() else sha256_json(dict(zip(files, digests, strict=True)))

    def _digest_files(self, paths: Sequence[Path]) -> list[str]:
        try:
            return self._cached_digests(paths)
        except sqlite3.DatabaseError:  # damaged, or the disk is full: the cache is not worth a run
            (self.root / "files.sqlite").unlink(missing_ok=True)
            return [sha256_file(path) for path in paths]

    def _cached_digests(self, paths: Sequence[Path]) -> list[str]:
        """By the time of the last change of content or name, which unlike that of the last writing no program can set back."""
        digests = []
        with closing(sqlite3.connect(self.root / "files.sqlite")) as cache, cache:
            cache.execute("create table if not exists files (path text primary key, size int, changed int, sha256 text)")
            for path in paths:
                stat = path.stat()
                key = (str(path.resolve()), stat.st_size, stat.st_ctime_ns)
                found = cache.execute("select sha256 from files where path = ? and size = ? and changed = ?", key).fetchone()
                if found is None:
                    found = (sha256_file(path),)
                    if time.time_ns() - stat.st_ctime_ns > SETTLED:
                        cache.execute("insert or replace into files values (?, ?, ?, ?)", (*key, found[0]))
                digests.append(str(found[0]))
        return digests

    def chain(self) -> list[dict[str, Any]]:
        """Every entry, oldest first. Raises Refusal where the chain or a record was altered."""
        entries, previous = [], GENESIS
        for number, line in enumerate(self._lines()):
            try:
                entry = json.loads(line)
                follows = entry["previous"] == previous
            except (ValueError, TypeError, KeyError, RecursionError):
                follows = False
            if not follows:
                raise Refusal(f"{self.root / 'ledger.jsonl'}: line {number + 1} does not follow the line before; the ledger was altered: "
                              "restore it, or move it away and run again, and the steps that are there are entered anew")
            previous = sha256(line.encode()).hexdigest()
            entries.append(entry)
        return entries

    def road(self) -> list[Done]:
        """The steps of the last road that was walked to its end, in order."""
        roads = [entry for entry in self.chain() if entry["kind"] == "road"]
        if not roads:
            raise Refusal(f"{self.root}: holds no finished run; start one with: medloom run RECIPE --out {self.root}")
        folders = [self.root / "steps" / name for name in roads[-1]["steps"]]
        found = [(folder, read_record(folder)) for folder in folders]
        lost = [folder.name for folder, record in found if record is None]
        if lost:
            raise Refusal(f"{self.root}: the step {lost[0]} is gone; run the recipe again to make it anew")
        return [Done(folder, record, fresh=False) for folder, record in found if record is not None]

    def standing(self) -> dict[str, str]:
        """Digest of the record of each step that was entered and neither set aside nor removed since, by folder, oldest first."""
        return _standing(self.chain())

    def remove(self, folders: Mapping[Path, str]) -> None:
        """Enter for each folder of `steps` that it is removed, and why, then remove it. Needs `opened`.

        A folder leaves `steps` whole, by a renaming, so that a kill between leaves no half of it to be taken for a step.
        """
        bin_ = self.root / REMOVED
        bin_.mkdir(exist_ok=True)
        for folder, why in folders.items():
            self._append({"kind": "removed", "folder": folder.name, "why": why})
            folder.rename(bin_ / folder.name)
        shutil.rmtree(bin_)

    def verify(self, only: str | None = None) -> list[str]:
        """What is wrong with the ledger: broken links, altered records, outputs whose digest differs. Empty where all holds.

        With `only`, the name of a step's folder, of outputs and records that one's are read alone.
        """
        try:
            entries = self.chain()
        except Refusal as error:
            return [str(error)]
        standing = _standing(entries)
        if only is not None and only not in standing:
            return [f"{self.root / 'steps' / only}: is not in the ledger, or was removed from it"]
        faults = []
        for name, digest in standing.items() if only is None else [(only, standing[only])]:
            folder = self.root / "steps" / name
            record = read_record(folder)
            if record is None:
                faults.append(f"{folder}: the record is gone")
            elif sha256_file(folder / RECORD) != digest:
                faults.append(f"{folder / RECORD}: was altered after it was entered")
            else:
                faults += altered(folder, record)
        return faults

    def _lines(self) -> list[str]:
        """The whole lines of the chain; one that a kill tore off at the end is not yet part of it."""
        path = self.root / "ledger.jsonl"
        return path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if path.exists() else []

    def _append(self, entry: Mapping[str, Any]) -> None:
        lines = self._lines()
        previous = sha256(lines[-1].encode()).hexdigest() if lines else GENESIS
        line = json.dumps({**entry, "entered": _now(), "previous": previous}, ensure_ascii=False)
        with (self.root / "ledger.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _enter(self, folder: Path) -> None:
        self._append({"kind": "step", "folder": folder.name, "record": sha256_file(folder / RECORD)})

    def _mend_chain(self) -> None:
        """Drop a torn last line, and enter steps that were finished but not entered, when a kill fell between the two."""
        path = self.root / "ledger.jsonl"
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            whole = path.read_bytes().rpartition(b"\n")
            path.write_bytes(whole[0] + whole[1])
        shutil.rmtree(self.root / REMOVED, ignore_errors=True)
        entered = self.standing()
        waiting = [record.parent for record in (self.root / "steps").glob(f"*/{RECORD}") if record.parent.name not in entered]
        for folder in sorted(waiting, key=lambda f: (f / RECORD).stat().st_mtime_ns):
            shutil.rmtree(folder / STATE, ignore_errors=True)
            self._enter(folder)

    def _link(self, folders: Mapping[str, Path]) -> None:
        latest = self.root / "latest"
        latest.mkdir(exist_ok=True)
        for link in latest.iterdir():
            if link.is_symlink() and link.name not in folders:
                link.unlink()
        for name, folder in folders.items():
            target = Path("..") / "steps" / folder.name
            link = latest / name
            if link.is_symlink() and link.readlink() == target:
                continue
            fresh = latest / f".{name}.{os.getpid()}"
            fresh.symlink_to(target)
            fresh.replace(link)


def _standing(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    standing: dict[str, str] = {}
    for entry in entries:
        if entry["kind"] == "step":
            standing[entry["folder"]] = entry["record"]
        elif entry["kind"] in ("set aside", "removed"):
            standing.pop(entry["folder"], None)
    return standing


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_record(folder: Path) -> dict[str, Any] | None:
    """A step's record; None where there is none that is whole."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        record["outputs"], record["output_digest"], record["figures"], record["inputs"]
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None  # not there or not whole: the step is made anew
    return record


def altered(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """What of a step's outputs is not as its record says."""
    now, then = _outputs(folder), record["outputs"]
    return [f"{folder / path}: {'differs from' if path in then else 'is not in'} its record"
            for path in sorted({*now, *then}) if now.get(path) != then.get(path)]


def _outputs(folder: Path) -> dict[str, dict[str, Any]]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name not in (RECORD, SIGNATURE)
             and STATE not in file.relative_to(folder).parts]
    return {file.relative_to(folder).as_posix(): {"sha256": sha256_file(file), "bytes": file.stat().st_size} for file in files}


def _whole(folder: Path, record: Mapping[str, Any]) -> bool:
    """Every output is there with its size. Digests are `verify`'s to check: a second run must cost nothing."""
    places = {folder / path: output["bytes"] for path, output in record["outputs"].items()}
    return all(place.is_file() and place.stat().st_size == size for place, size in places.items())


def _set_aside(folder: Path) -> None:
    """Keep a damaged step under another name, so that nothing is lost when it is made anew."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.damaged-{number}")).exists():
        number += 1
    folder.rename(aside)
