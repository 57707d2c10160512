"""Where ranks are started: what is printed for hosts and written for Slurm, and which layouts are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloom.ledger import Refusal
from medloom.recipe import Recipe
from medloom.train.hosts import Hosts, by_hand, check_layout, hosts
from medloom.train.slurm import Allocation, batch_script

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def recipe(device: str = "auto", **layout: int) -> Recipe:
    ranks = layout.get("data", 1) * layout.get("tensor", 1) * layout.get("pipeline", 1)
    sources = [{"name": "a", "format": "text", "path": "a"}]
    return Recipe.model_validate({"name": "r", "base": {"path": "seedling"}, "corpus": {"sources": sources},
                                  "pretrain": {"micro_batch": 16, "device": device}, "layout": layout, "hardware": {"count": ranks}})


def test_hosts_are_what_the_surroundings_say() -> None:
    assert hosts({}) == Hosts() and "--standalone" in hosts({}).command(8)
    two = hosts({"MEDLOOM_HOSTS": "2", "MEDLOOM_MEET": "node1:29400"})
    assert two.command(8)[3:] == ["--nproc-per-node", "8", "--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "node1:29400",
                                  "--rdzv-id", "medloom"]
    for halves in ({"MEDLOOM_HOSTS": "2"}, {"MEDLOOM_HOSTS": "two", "MEDLOOM_MEET": "a:1"}, {"MEDLOOM_HOSTS": "2", "MEDLOOM_MEET": "a"}):
        with pytest.raises(Refusal, match="set both"):
            hosts(halves)


def test_commands_by_hand_meet_at_one_place() -> None:
    commands = by_hand(["medloom", "run", "my recipe.toml"], Path("/runs/r"), 4, 8, "node1", 29400)
    assert commands["first"] == "MEDLOOM_HOSTS=4 MEDLOOM_MEET=node1:29400 medloom run 'my recipe.toml'"
    assert "--nnodes 4 " in commands["others"] and "--rdzv-endpoint node1:29400" in commands["others"]
    assert commands["others"].endswith(" -m medloom.train /runs/r; done")
    assert by_hand(["medloom", "run", "r"], Path("/runs/r"), 1, 8, "node1", 29400) == {"first": "medloom run r"}


def test_a_layout_that_does_not_fill_the_hosts_is_refused_with_the_nearest_that_do() -> None:
    check_layout(recipe(data=4, tensor=2, pipeline=2), 2, 8)
    with pytest.raises(Refusal, match=r"4 x 2 x 1 = 8 processes, and 2 nodes with 8 each make 16; give `--set hardware.count=16 ") as found:
        check_layout(recipe(data=4, tensor=2), 2, 8)
    cures = str(found.value).split("`")[1::2]
    assert len(cures) == 3
    for cure in cures:  # each does what it says
        sets = dict(word.removeprefix("layout.").split("=") for word in cure.split()[1::2])
        assert sets.pop("hardware.count") == "16"
        check_layout(recipe(**{"data": 4, "tensor": 2} | {way: int(number) for way, number in sets.items()}), 2, 8)
    with pytest.raises(Refusal, match=r"7 each make 7; give `--set hardware\.count=7 --set layout\.data=1 "):
        check_layout(recipe(data=2), 1, 7)


def test_the_script_asks_for_what_was_said(tmp_path: Path) -> None:
    wanted = Allocation(4, 8, "24:00:00", partition="gpu", account="med", more=("qos=high",))
    script = batch_script(recipe(data=16, tensor=2), wanted, ["medloom", "run", "my recipe.toml"], tmp_path)
    directives = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert {"nodes=4", "ntasks-per-node=1", "gres=gpu:8", "exclusive", "time=24:00:00", "partition=gpu", "account=med", "signal=B:USR1@120",
            "requeue", "qos=high", f"output={tmp_path}/%x-%j.log"} <= set(directives)
    assert "medloom run 'my recipe.toml' &\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=True).returncode == 0


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if os.getuid() or not all(map(shutil.which, ("sbatch", "slurmd", "munged"))):
        pytest.skip("needs root and Slurm: apt-get install slurm-wlm munge")
    # Apart from any other that runs here.
    monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("slurm")))
    monkeypatch.setenv("SLURM_SH_PORT", "17317")
    script = ROOT / "benchmarks/slurm.sh"
    told = subprocess.run([script, "start"], capture_output=True, text=True, check=True).stdout
    monkeypatch.setenv("SLURM_CONF", told.strip().removeprefix("export SLURM_CONF="))
    yield
    subprocess.run([script, "stop"], check=True)


WALK = """
import sys
from pathlib import Path
from medloom.ledger import Stopped
from medloom.train.launch import run_ranks
folder = Path(sys.argv[1])
mode = "sum" if (folder / "again").exists() else "wait"
(folder / "again").touch()
try:
    print("figures", run_ranks(["ring", str(folder), mode], 2, folder, "quiet"), flush=True)
except Stopped as stopped:
    print(stopped, flush=True)
    sys.exit(75)
"""


@pytest.mark.slow
def test_a_run_that_is_out_of_time_saves_goes_back_into_the_queue_and_goes_on(slurm: None, tmp_path: Path,
                                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(ROOT / "src")]))
    (tmp_path / "walk.py").write_text(WALK)
    words = [sys.executable, str(tmp_path / "walk.py"), str(tmp_path)]
    script = tmp_path / "r.sbatch"
    script.write_text(batch_script(recipe("cpu", data=2), Allocation(1, 2, "00:10:00"), words, tmp_path))
    job = subprocess.run(["sbatch", "--parsable", script], capture_output=True, text=True, check=True).stdout.strip()

    def log(says: str, seconds: float) -> str:
        end = time.monotonic() + seconds
        path = tmp_path / f"medloom-r-{job}.log"
        while says not in (text := path.read_text() if path.exists() else ""):
            assert time.monotonic() < end, text
            time.sleep(0.5)
        return text

    end = time.monotonic() + 60
    while not (tmp_path / "pid-1").exists():
        assert time.monotonic() < end, log("", 1)
        time.sleep(0.1)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)  # what Slurm does by itself two minutes before the end
    assert "run again to go on" in log("out of time, back into the queue", 60)
    # Not at once: on a node that has just ended it, Slurm lets it wait as long as its credential lasts.
    log("figures {'sum': 3, 'ranks': 2}", 120)
