"""Ranks that are started together end together: what they computed, what stopped them, and whose fault it was come back, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medloom.ledger import Broken, Refusal
from medloom.recipe import Layout, Training
from medloom.train.job import Job, find_job, read_job
from medloom.train.launch import run_ranks

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")]))
    for name in ("SLURM_JOB_NUM_NODES", "MEDLOOM_HOSTS", "MEDLOOM_MEET"):
        monkeypatch.delenv(name, raising=False)


def ring(folder: Path, mode: str) -> dict[str, object]:
    return run_ranks(["ring", str(folder), mode], 2, folder, "quiet")


def gone(number: int) -> bool:
    """Whether a process has ended; one that nobody has waited for has."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def until(true: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def test_ranks_compute_together(tmp_path: Path) -> None:
    assert ring(tmp_path, "sum") == {"sum": 3, "ranks": 2}


def test_a_rank_that_raises_ends_all_and_its_traceback_is_the_one_that_is_told(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Broken) as found:
        ring(tmp_path, "raise")
    assert time.monotonic() - started < 60
    text = str(found.value)
    assert text.startswith(f"rank 1 on {os.uname().nodename} failed:\nTraceback") and text.count("Traceback") == 1
    assert "ValueError: the second rank has found a stone in its shoe" in text and "ring.py" in text
    # What came of it in the other rank is kept apart.
    if (tmp_path / "ranks/rank-00000.json").exists():
        assert "stone" not in json.loads((tmp_path / "ranks/rank-00000.json").read_text())["text"]


def test_a_rank_that_is_killed_ends_all_and_is_named(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Broken, match=r"rank 1 on \S+ was ended by SIGKILL; was there too little memory\?"):
        ring(tmp_path, "kill")
    assert time.monotonic() - started < 60
    until(lambda: gone(int((tmp_path / "pid-0").read_text())))


def test_what_all_ranks_refuse_is_refused_once(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"^length = 4096 is more than the 64 positions of the model; set it to 64 or less$"):
        ring(tmp_path, "refuse")


LAUNCH = """
import sys
from pathlib import Path
from medloom.ledger import Stopped
from medloom.train.launch import run_ranks
try:
    run_ranks(["ring", sys.argv[1], "wait"], 2, Path(sys.argv[1]), "quiet")
except Stopped as stopped:
    sys.exit(f"{stopped}")
"""


def test_a_signal_reaches_the_ranks_and_they_stop_in_their_own_time(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, tmp_path], stderr=subprocess.PIPE, text=True)
    until(lambda: all((tmp_path / f"pid-{rank}").is_file() and (tmp_path / f"pid-{rank}").read_text() for rank in (0, 1)))
    parent.send_signal(signal.SIGUSR1)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 1 and said.startswith("stopped by ") and said.endswith("run again to go on\n") and "Traceback" not in said


def test_no_rank_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, tmp_path])
    until(lambda: all((tmp_path / f"pid-{rank}").is_file() and (tmp_path / f"pid-{rank}").read_text() for rank in (0, 1)))
    ranks = [int((tmp_path / f"pid-{rank}").read_text()) for rank in (0, 1)]
    torchrun = int(Path(f"/proc/{ranks[0]}/stat").read_text().rpartition(")")[2].split()[1])
    parent.kill()
    parent.wait()
    until(lambda: all(map(gone, [*ranks, torchrun])))


def test_torchrun_that_is_killed_takes_its_ranks_along_and_is_no_success(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", LAUNCH, tmp_path], stderr=subprocess.PIPE, text=True)
    until(lambda: all((tmp_path / f"pid-{rank}").is_file() and (tmp_path / f"pid-{rank}").read_text() for rank in (0, 1)))
    ranks = [int((tmp_path / f"pid-{rank}").read_text()) for rank in (0, 1)]
    torchrun = int(Path(f"/proc/{ranks[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(torchrun, signal.SIGKILL)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 1 and "Broken" in said and "code -9" in said
    until(lambda: all(map(gone, ranks)))


def test_a_torchrun_by_hand_shows_the_traceback_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ring", tmp_path, "raise"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("ValueError: the second rank has found a stone in its shoe\n") == 1


def job(folder: Path, **changes: object) -> Job:
    return Job(**{"stage": "pretrain", "settings": Training(tokens=1000), "layout": Layout(data=2), "model": folder, "tokens": folder,
                  "out": folder / "steps/pretrain-1", "state": folder / "steps/pretrain-1/.state", "seed": 1} | changes)


def test_a_job_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    written = job(tmp_path).write()
    assert read_job(written) == job(tmp_path) and find_job(tmp_path) == written == find_job(written)
    with pytest.raises(Refusal, match="no step of this run is in training"):
        find_job(HERE)
    written.write_text('{"stage": "pretrain"}')
    with pytest.raises(Refusal, match=r"job\.json: settings"):
        read_job(written)
    with pytest.raises(ValueError, match="finetune needs examples"):
        job(tmp_path, stage="finetune")


def test_hosts_that_cannot_share_the_ranks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOOM_HOSTS", "3")
    monkeypatch.setenv("MEDLOOM_MEET", "a:1")
    with pytest.raises(Refusal, match="2 processes do not divide over the 3 hosts"):
        ring(tmp_path, "sum")
