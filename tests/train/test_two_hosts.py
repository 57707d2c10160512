"""Two hosts, each with a network, a name and a torchrun of its own: they meet, compute together, and fail together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medloom.train.hosts import Hosts

HERE = Path(__file__).parent
SCRIPT = HERE.parents[1] / "benchmarks/two_hosts.sh"
FIRST = """
import sys
from pathlib import Path
from medloom.ledger import Broken
from medloom.train.launch import run_ranks
try:
    print(run_ranks(["ring", *sys.argv[1:]], 2, Path(sys.argv[1]), "quiet"))
except Broken as broken:
    sys.exit(str(broken))
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def permitted() -> None:
    done = subprocess.run([SCRIPT, "check"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())


def on_both(folder: Path, mode: str) -> subprocess.CompletedProcess[str]:
    (folder / "first.py").write_text(FIRST)
    meet = Hosts(2, "one:29400")
    first = f"MEDLOOM_HOSTS=2 MEDLOOM_MEET={meet.meet} {sys.executable} {folder}/first.py {folder} {mode}"
    other = f"{' '.join(meet.command(1))} -m ring {folder} {mode}"
    path = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
    return subprocess.run([SCRIPT, first, other], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})


def test_two_hosts_compute_together(tmp_path: Path) -> None:
    done = on_both(tmp_path, "sum")
    assert done.returncode == 0 and done.stdout == "{'sum': 3, 'ranks': 2}\n", done.stderr


def test_what_fails_on_one_host_ends_both_and_is_told_where_it_was_started(tmp_path: Path) -> None:
    started = time.monotonic()
    done = on_both(tmp_path, "raise")
    assert done.returncode == 1 and time.monotonic() - started < 60
    told = done.stderr[done.stderr.index("rank 1 on ") :]
    assert told.split()[3] in ("one", "two") and "the second rank has found a stone in its shoe" in told
