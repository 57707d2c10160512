"""Two hosts, each with a network, a name and a torchrun of its own, started by hand or by Slurm: they compute, stop and fail together."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medloom.train.hosts import Hosts
from medloom.train.slurm import Allocation, batch_script

from .test_hosts import recipe

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
SCRIPT = BENCHMARKS / "two_hosts.sh"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])}
FIRST = """
import sys
from pathlib import Path
from medloom.ledger import Broken, Stopped
from medloom.train.launch import run_ranks
try:
    print(run_ranks(["ring", *sys.argv[1:]], 2, Path(sys.argv[1]), "quiet"), flush=True)
except (Broken, Stopped) as end:
    print(end, flush=True)
    sys.exit(75 if isinstance(end, Stopped) else 3)
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
    return subprocess.run([SCRIPT, first, other], capture_output=True, text=True, check=False, env=ENVIRONMENT)


def test_two_hosts_compute_together(tmp_path: Path) -> None:
    done = on_both(tmp_path, "sum")
    assert done.returncode == 0 and done.stdout == "{'sum': 3, 'ranks': 2}\n", done.stderr


def test_what_fails_on_one_host_ends_both_and_is_told_where_it_was_started(tmp_path: Path) -> None:
    started = time.monotonic()
    done = on_both(tmp_path, "raise")
    assert done.returncode == 3 and time.monotonic() - started < 60
    told = done.stdout.splitlines()
    assert told[0] in ("rank 1 on one failed:", "rank 1 on two failed:")
    assert "ValueError: the second rank has found a stone in its shoe" in told


NODES = """
wait_for() { for _ in $(seq 300); do [ -e "$1" ] && return; sleep 0.2; done; exit 9; }
job=$(sbatch --parsable r.sbatch)
wait_for pid-1
scancel --batch --signal=USR1 "$job"
for _ in $(seq 300); do grep -q "back into the queue" "medloom-r-$job.log" && break; sleep 0.2; done
cat "medloom-r-$job.log"
"""


@pytest.mark.skipif(not all(map(shutil.which, ("sbatch", "slurmd", "munged"))), reason="needs Slurm: apt-get install slurm-wlm munge")
def test_two_nodes_of_a_slurm_stop_together_and_go_back_into_the_queue(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(FIRST)
    words = [sys.executable, f"{tmp_path}/first.py", str(tmp_path)]
    script = batch_script(recipe("cpu", data=2), Allocation(2, 1, "00:10:00"), [*words, "wait"], tmp_path)
    # Before that, a rank dies in the same allocation.
    (tmp_path / "r.sbatch").write_text(script.replace("set -u\n", f"set -u\n{' '.join([*words, 'kill'])}\nrm -f pid-*\n"))
    done = subprocess.run([BENCHMARKS / "two_nodes.sh", NODES], capture_output=True, text=True, check=False, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "rank 1 on two was ended by SIGKILL" in done.stdout or "rank 1 on one was ended by SIGKILL" in done.stdout
    assert "run again to go on\nmedloom: out of time, back into the queue\n" in done.stdout
