"""A recorded run is run again: on a processor to the last bit, and where it is not, what differs is told, with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medloom.alike import Tolerance
from medloom.ledger import Done, Ledger, Refusal
from medloom.reproduce import hold, recorded

from .conftest import medloom, smallest_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smallest_run(tmp_path_factory.mktemp("reproduce") / "run")


def steps(root: Path) -> dict[str, Done]:
    return {done.record["name"]: done for done in Ledger(root).road()}


@pytest.mark.slow
def test_the_demo_comes_out_the_same_to_the_last_bit(run: Path) -> None:
    said = json.loads(medloom("reproduce", run, "--json", "--quiet"))
    assert said["verdict"] == "identical" and said["figures"] == [] and said["again"] == f"{run}-again"
    then, now = steps(run), steps(Path(said["again"]))
    assert said["fresh"] == len(said["steps"]) == len(then), "all of it was run again"
    assert {row["output"] for row in said["steps"]} == {"same", "times"}
    assert {row["step"] for row in said["steps"] if row["output"] == "times"} == {"gate", "card"}
    for name in ("finetune", "export-F16"):  # not by the records' word alone
        for file in then[name].record["outputs"]:
            assert (then[name].folder / file).read_bytes() == (now[name].folder / file).read_bytes()
    assert sum(row["identical"] for row in said["steps"]) > 1500 and all(row["verdict"] == "identical" for row in said["answers"])
    assert json.loads((Path(said["again"]) / "reproduction.json").read_text()) == said
    summaries = [json.loads((root / "summary.json").read_text()) for root in (run, Path(said["again"]))]
    for part in ("comparisons", "forgetting"):
        assert summaries[0][part] == summaries[1][part] != []
    assert Ledger(Path(said["again"])).verify() == []
    # What the second run is told to do otherwise is found, named as the reason, and followed to what rests on it.
    other = json.loads(medloom("reproduce", run, "--out", run.parent / "other", "--set", "pretrain.rate=4e-3", "--json", "--quiet", code=1))
    why = {row["step"]: row["why"] for row in other["steps"]}
    rate = then["pretrain"].record["params"]["rate"]
    assert other["verdict"] == "different" and why["pretrain"] == [f"rate: {rate} then, 0.004 now"]
    assert why["corpus"] == why["evaluate-base-invented-exam"] == [] and "input model differs" in why["finetune"]
    assert {figure["name"].partition(":")[0] for figure in other["figures"] if figure["verdict"] == "different"} >= {"pretrain", "compare"}
    table = medloom("reproduce", run, "--out", run.parent / "other", "--set", "pretrain.rate=4e-3", "--quiet", code=1)
    assert "rate:" in table and "different:" in table and "pretrain:last_loss" in table


def test_each_reason_is_named(run: Path) -> None:
    """Records as another version, machine or luck would have left them."""
    then = steps(run)

    def altered(name: str, **changes: Any) -> list[str]:
        record = {**json.loads(json.dumps(dict(then[name].record))), "output_digest": "f" * 64}
        for key, value in changes.items():
            record[key] = {**record[key], **value} if isinstance(value, dict) else value
        now = {**then, name: Done(then[name].folder, record, fresh=True)}
        found = hold(then, now, Tolerance())
        assert found["verdict"] == "equivalent", "all figures are alike, and not all bytes"
        (row,) = [row for row in found["steps"] if row["why"]]
        assert row["step"] == name and row["output"] == "different"
        return list(row["why"])

    environment, hardware = (then["pretrain"].record[key] for key in ("environment", "hardware"))
    assert altered("pretrain", environment={"torch": "1.0"}) == [f"torch: {environment['torch']} then, 1.0 now"]
    assert altered("pretrain", hardware={"processor": "Z80"}) == [f"processor: {hardware['processor']} then, Z80 now"]
    assert altered("pretrain", hardware={"threads": 99}) == [f"threads: {hardware['threads']} then, 99 now"]
    assert altered("pretrain", code="0" * 64) == [f"other code in {', '.join(then['pretrain'].record['rooms'])}"]
    assert altered("pretrain", params={"seed": 7}) == ["seed: 1 then, 7 now"]
    assert "device: cpu then, cuda now" in altered("pretrain", figures={"device": "cuda"})
    assert altered("world", inputs={"files": {"path": "/data/x", "digest": "0"}}) == ["input files differs (/data/x)"]
    assert "nothing on record differs" in altered("corpus")[0]
    lacking = {name: done for name, done in then.items() if name != "card"}
    assert hold(then, lacking, Tolerance())["verdict"] == "different"
    assert hold(then, lacking, Tolerance())["steps"][-1]["why"] == ["only in the first run"]


def test_what_cannot_be_reproduced_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="is the recorded run itself"):
        medloom("reproduce", run, "--out", run, "--quiet")
    with pytest.raises(Refusal, match=r"holds no recipe\.json"):
        recorded(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged, symlinks=True)
    assert recorded(damaged).model_dump() == recorded(run).model_dump()
    (damaged / "latest/compare/comparisons.json").write_text("[]")
    with pytest.raises(Refusal, match=r"comparisons\.json: differs from its record, so nothing can be held against this run"):
        medloom("reproduce", damaged, "--quiet")
    assert not (tmp_path / "damaged-again").exists()
