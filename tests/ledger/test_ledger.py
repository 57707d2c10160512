"""A step is run once, a killed one goes on, and nothing that was entered can be altered unseen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from medloom.ledger import Ledger, Refusal, Silent, Step, Workspace
from medloom.ledger.show import tree


def double(space: Workspace) -> Mapping[str, Any]:
    text = (space.inputs["text"] / "text.txt" if space.inputs["text"].is_dir() else space.inputs["text"]).read_text()
    (space.out / "text.txt").write_text(2 * text)
    return {"characters": 2 * len(text)}


def chain_of_two(source: Path, **params: Any) -> tuple[Step, Step]:
    first = Step("first", double, ("ledger",), params=params, inputs={"text": source})
    return first, Step("second", double, ("ledger",), inputs={"text": first})


def walk(root: Path, target: Step) -> dict[str, bool]:
    ledger = Ledger(root)
    with ledger.opened():
        return {step.name: done.fresh for step, done in ledger.walk([target], Silent())}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("ab")
    return path


def test_a_second_walk_does_nothing(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    assert walk(root, chain_of_two(source)[1]) == {"first": True, "second": True}
    assert (root / "latest/second/text.txt").read_text() == "abababab"
    before = (root / "ledger.jsonl").read_text()
    assert walk(root, chain_of_two(source)[1]) == {"first": False, "second": False}
    assert (root / "ledger.jsonl").read_text() == before


def test_what_changed_is_made_anew_and_what_came_out_alike_is_not(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    walk(root, chain_of_two(source)[1])
    # Another parameter makes the first step another one; its output is the same, so that the second stands.
    assert walk(root, chain_of_two(source, colour="red")[1]) == {"first": True, "second": False}
    source.write_text("cd")
    assert walk(root, chain_of_two(source)[1]) == {"first": True, "second": True}


def test_what_a_kill_left_half_written_does_not_hinder_the_next_attempt(tmp_path: Path, source: Path) -> None:
    def killed(space: Workspace) -> Mapping[str, Any]:
        (space.out / ".text.txt.17.tmp").write_text("ha")
        (space.state / ".step-00000120.tmp").mkdir()
        (space.state / ".step-00000120.tmp/__0_0.distcp").write_text("ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        walk(tmp_path / "run", Step("first", killed, ("ledger",), inputs={"text": source}))
    assert list((tmp_path / "run").rglob(".*.tmp")), "there is something to stumble over"
    assert walk(tmp_path / "run", Step("first", double, ("ledger",), inputs={"text": source})) == {"first": True}
    assert not list((tmp_path / "run").rglob(".*.tmp"))


def test_measured_outputs_are_recorded_and_do_not_count(tmp_path: Path) -> None:
    digests = []
    for moment in ("1", "2"):
        def clock(space: Workspace, moment: str = moment) -> Mapping[str, Any]:
            (space.out / "clock.txt").write_text(moment)
            (space.out / "lasting.txt").write_text("same")
            return {}

        ledger = Ledger(tmp_path / moment)
        with ledger.opened():
            [(_, done)] = ledger.walk([Step("clock", clock, ("ledger",), measured=("clock.*",))], Silent())
        assert set(done.record["outputs"]) == {"clock.txt", "lasting.txt"}
        digests.append(done.record["output_digest"])
    assert digests[0] == digests[1]


def test_a_damaged_step_is_set_aside_and_made_anew(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    walk(root, chain_of_two(source)[1])
    (root / "latest/second/text.txt").write_text("short")
    assert walk(root, chain_of_two(source)[1]) == {"first": False, "second": True}
    assert [path.name.endswith(".damaged-1") for path in (root / "steps").glob("second-*")].count(True) == 1
    assert Ledger(root).verify() == []


def test_alterations_are_seen(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    walk(root, chain_of_two(source)[1])
    ledger = Ledger(root)
    (root / "latest/second/text.txt").write_text("abababaX")
    assert any("differs from its record" in fault for fault in ledger.verify())
    record = root / "latest/first/record.json"
    record.write_text(record.read_text().replace('"characters": 4', '"characters": 5'))
    assert any("altered after it was entered" in fault for fault in ledger.verify())
    lines = (root / "ledger.jsonl").read_text().splitlines()
    (root / "ledger.jsonl").write_text("\n".join([lines[0].replace("first", "fjrst"), *lines[1:]]) + "\n")
    assert any("line 2 does not follow" in fault for fault in ledger.verify())


def test_nothing_is_built_on_an_altered_step(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    first, second = chain_of_two(source)
    walk(root, second)
    (root / "latest/first/text.txt").write_text("abaX")
    assert walk(root, second) == {"first": False, "second": False}, "a walk without work costs no reading"
    with pytest.raises(Refusal, match="differs from its record, so nothing can be built on it"):
        walk(root, Step("third", double, ("ledger",), inputs={"text": first}))
    for line in ("garbage", "{}", "[]"):
        (tmp_path / "altered").mkdir(exist_ok=True)
        (tmp_path / "altered/ledger.jsonl").write_text(line + "\n")
        with pytest.raises(Refusal, match="line 1 does not follow"):
            Ledger(tmp_path / "altered").chain()


def test_a_damaged_record_or_cache_is_made_anew(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    walk(root, chain_of_two(source)[1])
    (root / "latest/second/record.json").write_text("{}")
    (root / "files.sqlite").write_bytes(b"this is no database" * 100)
    assert walk(root, chain_of_two(source)[1]) == {"first": False, "second": True}
    assert Ledger(root).verify() == []


def test_files_that_no_record_names_are_seen(tmp_path: Path, source: Path) -> None:
    walk(tmp_path / "run", chain_of_two(source)[1])
    (tmp_path / "run/latest/second/more.txt").write_text("")
    assert [fault.split(": ")[1] for fault in Ledger(tmp_path / "run").verify()] == ["is not in its record"]


def test_a_failed_step_leaves_no_record_and_is_tried_again(tmp_path: Path) -> None:
    tries = []

    def fails_once(space: Workspace) -> Mapping[str, Any]:
        tries.append((space.state / "half").exists())
        (space.state / "half").write_text("half")
        if len(tries) == 1:
            raise OSError("disk is full")
        return {}

    step = Step("shaky", fails_once, ("ledger",))
    with pytest.raises(OSError, match="disk is full"):
        walk(tmp_path / "run", step)
    assert walk(tmp_path / "run", step) == {"shaky": True}
    assert tries == [False, True], "the second attempt finds the state of the first"
    record = json.loads((tmp_path / "run/latest/shaky/record.json").read_text())
    assert len(record["earlier_attempts"]) == 1


def test_a_torn_line_and_an_unentered_step_are_mended(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "run"
    walk(root, chain_of_two(source)[1])
    lines = (root / "ledger.jsonl").read_text().splitlines()
    (root / "ledger.jsonl").write_text(lines[0] + "\n" + lines[1][:20])
    assert walk(root, chain_of_two(source)[1]) == {"first": False, "second": False}
    assert Ledger(root).verify() == []
    assert [entry["kind"] for entry in Ledger(root).chain()] == ["step", "step", "road"]


def test_two_writers_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "run")
    with ledger.opened(), pytest.raises(Refusal, match="another medloom is running here"), Ledger(tmp_path / "run").opened():
        pass


def test_inputs_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file or folder"):
        walk(tmp_path / "run", chain_of_two(tmp_path / "absent")[0])


def test_a_pattern_is_digested_by_names_below_its_root(tmp_path: Path) -> None:
    digests = []
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "b.md").write_text("b")
        (tmp_path / "run").mkdir(exist_ok=True)
        digests.append(Ledger(tmp_path / "run").digest_of(folder / "*.txt"))
    assert digests[0] == digests[1]


KILLED = """
import sys, time
from pathlib import Path
from medloom.ledger import Ledger, Silent, Step

def count(space):
    numbers = space.out / "numbers.txt"
    reached = len(numbers.read_text().splitlines()) if numbers.exists() else 0
    for number in range(reached, 20):
        with numbers.open("a") as out:
            out.write(f"{number}\\n")
        time.sleep(0.05)
    return {"numbers": 20}

ledger = Ledger(Path(sys.argv[1]))
with ledger.opened():
    for step, done in ledger.walk([Step("count", count, ("ledger",))], Silent()):
        print(done.record["output_digest"])
"""


def test_kill_and_the_same_command_end_in_the_same_digest(tmp_path: Path) -> None:
    def start(root: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", KILLED, str(root)], stdout=subprocess.PIPE, text=True)

    undisturbed, _ = start(tmp_path / "undisturbed").communicate()
    killed = start(tmp_path / "killed")
    numbers = tmp_path / "killed/steps"
    while not any(path.stat().st_size > 8 for path in numbers.glob("count-*/numbers.txt")):
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not list(numbers.glob("count-*/record.json"))
    resumed, _ = start(tmp_path / "killed").communicate()
    assert resumed == undisturbed != ""


def test_the_lineage_is_a_tree(tmp_path: Path, source: Path) -> None:
    walk(tmp_path / "run", chain_of_two(source)[1])
    lines = tree(Ledger(tmp_path / "run").road())
    assert lines[0].startswith("first") and "characters 4" in lines[0]
    assert any(line.startswith("└─ second") and "characters 8" in line for line in lines)
    assert any("from source.txt" in line for line in lines)
