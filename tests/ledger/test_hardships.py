"""A ledger in hard circumstances, with real processes and a real small disk: two writers, a full disk, inputs that change unseen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from safetensors.numpy import save_file

from medloom import cli
from medloom.ledger import Ledger, Silent, Step, Workspace, ancestry

WRITER = """
import sys, time
from pathlib import Path
from medloom.ledger import Ledger, Refusal, Silent, Step

def work(space):
    for number in range(20):
        (space.out / f"{number}.txt").write_text(f"{number}" * 1000)
        time.sleep(0.05)
    return {}

ledger = Ledger(Path(sys.argv[1]))
steps = [Step(f"step-{number}", work, ("ledger",), params={"number": number}) for number in range(3)]
try:
    with ledger.opened():
        print("writing", flush=True)
        for step, done in ledger.walk(steps, Silent()):
            pass
except Refusal as error:
    print(error)
    sys.exit(2)
"""


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True)


def test_of_many_processes_one_writes_and_the_others_say_who_does(tmp_path: Path) -> None:
    root = tmp_path / "run"
    first = start(root)
    assert first.stdout is not None and first.stdout.readline() == "writing\n"
    others = [start(root) for _ in range(3)]
    said = [other.communicate()[0] for other in others]
    assert [other.returncode for other in others] == [2, 2, 2]
    assert all(f"another medloom is running here (process {first.pid} on " in text and "choose another folder" in text for text in said)
    assert first.poll() is None, "they were refused at once, while the first went on"
    while first.poll() is None:  # whoever only reads sees a sound ledger at any moment
        assert Ledger(root).verify() == []
    assert first.returncode == 0
    assert [entry["kind"] for entry in Ledger(root).chain()] == ["step"] * 3 + ["road"]


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    root = tmp_path / "run"
    first = start(root)
    assert first.stdout is not None and first.stdout.readline() == "writing\n"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert start(root).wait() == 0 and Ledger(root).verify() == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, which tests fill and widen."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave: int) -> Path:
    """Take all room of a file system but for so many bytes, which it counts in pages."""
    ballast = place / "ballast"
    size = shutil.disk_usage(place).free - leave
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    return ballast


def write(space: Workspace) -> Mapping[str, Any]:
    for number in range(4):
        (space.out / f"{number}.txt").write_text(f"{number}" * 3000)
    return {}


def steps(source: Path) -> list[Step]:
    first = Step("first", write, ("ledger",), inputs={"source": source})
    return [first, Step("second", write, ("ledger",), inputs={"first": first})]


def walk(root: Path, targets: list[Step]) -> list[str]:
    ledger = Ledger(root)
    with ledger.opened():
        return [done.record["output_digest"] for _, done in ledger.walk(targets, Silent())]


def test_a_disk_that_fills_at_any_moment_is_survived(small: Path, tmp_path: Path) -> None:
    """However much room there is, from none to enough: the walk fails with the machine's word for it, and goes on once there is room."""
    source = tmp_path / "source.txt"
    source.write_text("text")
    undisturbed, failures = walk(tmp_path / "undisturbed", steps(source)), 0
    page = os.sysconf("SC_PAGE_SIZE")
    for pages in range(24):
        ballast = fill(small, pages * page)
        root = small / "run"
        try:
            walk(root, steps(source))
        except OSError as error:
            assert error.errno == 28, "ENOSPC"
            failures += 1
        if root.exists():
            assert Ledger(root).verify() == []
        ballast.unlink()
        assert walk(root, steps(source)) == undisturbed and Ledger(root).verify() == []
        shutil.rmtree(root)
    assert 5 < failures < 24, "it failed at several places, and was at the end given enough"


@pytest.mark.parametrize("library", ["safetensors", "pyarrow", "duckdb", "python"])
def test_a_full_disk_is_told_in_one_line_whichever_library_met_it(small: Path, monkeypatch: pytest.MonkeyPatch, library: str,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    fill(small, 0)
    file = small / "file"

    def work() -> None:
        if library == "safetensors":
            save_file({"weights": np.zeros(100_000)}, file)
        elif library == "pyarrow":
            parquet.write_table(pa.table({"n": np.random.default_rng(1).random(100_000)}), file)
        elif library == "duckdb":
            duckdb.sql(f"copy (select random() from range(100000)) to '{file}' (format parquet)")
        else:
            file.write_bytes(bytes(100_000))

    monkeypatch.setattr(cli, "app", work)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "No space left on device" in said and "give the same command again" in said
    assert "Traceback" not in said


def test_a_changed_file_is_seen_whatever_its_size_and_time_say(tmp_path: Path) -> None:
    root, source = tmp_path / "run", tmp_path / "source.txt"
    source.write_text("before")
    long_ago = time.time() - 1000
    os.utime(source, (long_ago, long_ago))
    ledger = Ledger(root)
    (root / "steps").mkdir(parents=True)
    digests = [ledger.digest_of(source)]
    for text in ("after!", "latest"):  # of one length, with the time of the last writing set back
        source.write_text(text)
        os.utime(source, (long_ago, long_ago))
        digests.append(ledger.digest_of(source))
    assert len(set(digests)) == 3


def test_a_changed_input_is_followed_to_exactly_what_rests_on_it(tmp_path: Path) -> None:
    """Six steps over three files; each file in turn changes."""
    def join(space: Workspace) -> Mapping[str, Any]:
        (space.out / "text.txt").write_text("".join((path / "text.txt" if path.is_dir() else path).read_text()
                                                    for _, path in sorted(space.inputs.items())))
        return {}

    files = {name: tmp_path / f"{name}.txt" for name in "abc"}
    for name, file in files.items():
        file.write_text(name)

    def step(name: str, **inputs: Step | Path) -> Step:
        return Step(name, join, ("ledger",), inputs=inputs)

    left, right, own = step("left", a=files["a"]), step("right", b=files["b"]), step("own", c=files["c"])
    both, mixed = step("both", left=left, right=right), step("mixed", right=right, c=files["c"])
    targets = [step("end", both=both, own=own), mixed]
    ledger = Ledger(tmp_path / "run")

    def fresh() -> set[str]:
        with ledger.opened():
            return {step.name for step, done in ledger.walk(targets, Silent()) if done.fresh}

    assert fresh() == {"left", "right", "own", "both", "mixed", "end"}
    for name, dependants in (("a", {"left", "both", "end"}), ("b", {"right", "both", "mixed", "end"}), ("c", {"own", "mixed", "end"})):
        files[name].write_text(name + "!")
        assert fresh() == dependants
        assert dependants == {step.name for step in ancestry(targets) if _rests_on(step, files[name])}
        assert fresh() == set()
    assert ledger.verify() == []


def _rests_on(step: Step, file: Path) -> bool:
    return any(needed == file if isinstance(needed, Path) else _rests_on(needed, file) for needed in step.inputs.values())
