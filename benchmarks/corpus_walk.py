"""The command `medloom corpus` on a recipe written here: its time, and the peak memory of every process of it, watched from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import medloom

# Seconds. A look at every process costs the cores that are measured, and VmHWM is a high-water mark: only what a process gains in its
# last moments can be missed.
SAMPLED_EVERY = 0.5
SOURCES = {"guidelines-html": "guidelines", "guidelines-pdf": "guidelines", "guidelines-text": "guidelines", "jats": "jats",
           "medline": "medline", "books": "text", "web": "jsonl"}


@dataclass
class Walk:
    """What one run took: seconds on the wall and of CPU (all its processes), CPU seconds that the machine's other processes took
    meanwhile, peak MB of the command's own process and of its children."""

    wall: float = 0.0
    cpu: float = 0.0
    others: float = 0.0
    main: float = 0.0
    workers: dict[int, float] = field(default_factory=dict)

    @property
    def worker(self) -> float:
        """Peak MB of the greatest worker; of the command itself where it had none."""
        return max(self.workers.values(), default=self.main)


def write_recipe(data: Path, tokenizer: Path, questions: Path | None) -> Path:
    """A recipe over those SOURCES for which `data` has a folder of that name, in `data/recipe.toml`, as far as tokens."""
    (data / "model").mkdir(exist_ok=True)
    shutil.copy(tokenizer / "tokenizer.model", data / "model")
    lines = ['name = "corpus-benchmark"', "[base]", 'path = "model"', "[corpus]", 'languages = ["en"]']
    for name, form in SOURCES.items():
        if (data / name).exists():
            domain = "general" if name in ("books", "web") else "medical"
            lines += ["[[corpus.sources]]", f'name = "{name}"', f'format = "{form}"', f'path = "{name}"', f'domain = "{domain}"']
    lines += ["[pretrain]", "length = 2048"]
    if questions is not None:
        shutil.copytree(questions, data / "questions", dirs_exist_ok=True)
        lines += ["[[evaluate.benchmarks]]", 'name = "pubmedqa"', 'kind = "pubmedqa"', 'path = "questions"']
    path = data / "recipe.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def walk(recipe: Path, out: Path, workers: int) -> Walk:
    """Run the corpus road into a fresh folder, which is removed afterwards."""
    command = [sys.executable, "-m", "medloom", "corpus", str(recipe), "--set", f"data={recipe.parent}", "--set",
               f"corpus.workers={workers}", "--out", str(out), "--quiet"]
    source = str(Path(medloom.__file__).parents[1])
    seen = Walk()
    started, busy = time.perf_counter(), _busy_seconds()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"})
    while True:
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        _sample(process.pid, seen)
        time.sleep(SAMPLED_EVERY)
    seen.wall, seen.cpu = time.perf_counter() - started, used.ru_utime + used.ru_stime
    seen.others = max(_busy_seconds() - busy - seen.cpu, 0.0)
    said = process.stdout.read().decode() if process.stdout else ""
    shutil.rmtree(out, ignore_errors=True)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed:\n{said}")
    return seen


def _sample(root: int, seen: Walk) -> None:
    """Note the high-water mark of every process below `root`."""
    below = {root}
    for number, parent in sorted(_parents().items()):
        if parent in below:
            below.add(number)
    for number in below:
        peak = _peak_megabytes(number)
        if peak is None:
            continue
        if number == root:
            seen.main = peak
        else:
            seen.workers[number] = peak


def _busy_seconds() -> float:
    """CPU seconds that the whole machine has worked since it started."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _parents() -> dict[int, int]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return found


def _peak_megabytes(number: int) -> float | None:
    try:
        lines = Path("/proc", str(number), "status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), None)
