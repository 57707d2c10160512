"""What gc removes: nothing that the last road needs, nothing unseen, and nothing in a way that a kill could leave half done."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medloom.cli import app
from medloom.ledger import Ledger, Refusal, Silent, Step, Workspace, find_waste


def write(space: Workspace) -> Mapping[str, Any]:
    (space.out / "text.txt").write_text(space.out.name)
    return {}


def steps(colour: str) -> tuple[Step, Step]:
    """Two steps: the first the same whatever the colour, the second not."""
    first = Step("first", write, ("ledger",))
    return first, Step("second", write, ("ledger",), params={"colour": colour}, inputs={"first": first})


def walk(root: Path, *targets: Step) -> dict[str, bool]:
    ledger = Ledger(root)
    with ledger.opened():
        return {step.name: done.fresh for step, done in ledger.walk(targets, Silent())}


def names(root: Path) -> set[str]:
    return {path.name.rpartition("-")[0] for path in (root / "steps").iterdir()}


def gc(root: Path, *words: str, code: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["gc", str(root), "--json", *words])
    if isinstance(done.exception, Refusal):
        raise done.exception
    assert done.exit_code == code, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder in which three colours were walked, red last."""
    for colour in ("green", "blue", "red"):
        walk(tmp_path / "run", steps(colour)[1])
    return tmp_path / "run"


def test_a_dry_run_names_what_would_go_and_touches_nothing(root: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    found = gc(root)
    assert not found["removed"] and len(found["folders"]) == 2
    assert all(each["why"] == "of an earlier run" and "second-" in each["folder"] for each in found["folders"])
    sizes = [sum(file.stat().st_size for file in Path(each["folder"]).rglob("*") if file.is_file()) for each in found["folders"]]
    assert [each["bytes"] for each in found["folders"]] == sizes and found["bytes"] == sum(sizes) > 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_what_is_removed_is_on_record_and_the_last_road_stands(root: Path) -> None:
    gone = [Path(each["folder"]).name for each in gc(root, "--yes")["folders"]]
    assert len(list((root / "steps").iterdir())) == 2 and not (root / ".removed").exists()
    ledger = Ledger(root)
    assert ledger.verify() == [] and [done.record["name"] for done in ledger.road()] == ["first", "second"]
    assert [entry["folder"] for entry in ledger.chain() if entry["kind"] == "removed"] == gone
    assert walk(root, steps("red")[1]) == {"first": False, "second": False}
    assert walk(root, steps("blue")[1]) == {"first": False, "second": True}, "what was removed is made anew, and entered anew"
    assert ledger.verify() == []


def test_more_roads_are_kept_when_asked(root: Path) -> None:
    assert len(gc(root, "--keep-roads", "2")["folders"]) == 1
    assert gc(root, "--keep-roads", "3", "--yes")["folders"] == []


def test_a_part_of_a_road_is_no_road_of_its_own(root: Path) -> None:
    walk(root, steps("red")[0])  # as `medloom corpus` does after `medloom run`
    assert len(Ledger(root).road()) == 1
    gc(root, "--yes")
    assert walk(root, steps("red")[1]) == {"first": False, "second": False}


def stopped(space: Workspace) -> Mapping[str, Any]:
    (space.state / "checkpoint").write_text("half")
    raise KeyboardInterrupt


def test_what_a_stopped_run_goes_on_from_stays_unless_it_may_go(root: Path) -> None:
    _, pink = steps("pink")
    with pytest.raises(KeyboardInterrupt):
        walk(root, Step("third", stopped, ("ledger",), inputs={"second": pink}))
    assert {each["why"] for each in gc(root, "--yes")["folders"]} == {"of an earlier run"}
    assert names(root) == {"first", "second", "third"} and list((root / "steps").glob("third-*/.state/checkpoint"))
    assert {each["why"] for each in gc(root, "--unfinished", "--yes")["folders"]} == {"not finished", "of a walk that was not finished"}
    assert names(root) == {"first", "second"} and Ledger(root).verify() == []


def test_a_damaged_step_goes_when_it_was_made_anew(root: Path) -> None:
    (root / "latest/second/text.txt").write_text("")
    walk(root, steps("red")[1])
    assert [each["why"] for each in gc(root, "--keep-roads", "3")["folders"]] == ["damaged, and made anew since"]


def test_a_kill_between_the_entry_and_the_removal_leaves_a_sound_ledger(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("rename", "rmtree"):
        def killed(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            if name == "rename":
                patch.setattr(Path, "rename", killed)
            else:
                patch.setattr(shutil, "rmtree", killed)
            ledger = Ledger(root)
            with pytest.raises(KeyboardInterrupt), ledger.opened():
                ledger.remove({waste.folder: waste.why for waste in find_waste(ledger)})
        assert walk(root, steps("red")[1]) == {"first": False, "second": False}
        assert ledger.verify() == []
    gc(root, "--yes")
    assert names(root) == {"first", "second"} and len(list((root / "steps").iterdir())) == 2


def test_a_folder_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="holds no ledger"):
        gc(tmp_path, "--yes")
    assert not list(tmp_path.iterdir())
