"""The gate from the command line: sound files of a run, and two that load and write and are wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.quantise import export_gguf
from medloom.quantise.full import export as exporting

from .conftest import medloom, smallest_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return smallest_run(tmp_path_factory.mktemp("gate") / "run")


@pytest.fixture(scope="module")
def judged(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Q8_0 beside an export whose queries and keys were left in place, and files in which 2,000 bytes of weights were changed."""
    folder, model = tmp_path_factory.mktemp("wrong"), (run / "latest/finetune").resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "interleave", lambda weight, heads: weight)
        export_gguf(model, folder / "unpermuted.gguf", "F16")
    for kind, source in (("F16", "export-F16"), ("Q8_0", None)):
        if source is None:
            medloom("gate", run, "--type", "Q8_0", "--quiet", "--json", code=1)
        file = run / f"latest/export-{kind}/model-{kind}.gguf"
        raw = bytearray(file.read_bytes())
        start = int(gguf.GGUFReader(file).data_offset)
        for place in np.random.default_rng(1).integers(start, len(raw), 2000):
            raw[place] ^= 0xFF
        (folder / f"flipped-{kind}.gguf").write_bytes(raw)
    wrong = [f"--file={folder / name}.gguf" for name in ("unpermuted", "flipped-F16", "flipped-Q8_0")]
    said = json.loads(medloom("gate", run, "--type", "F16", "--type", "Q8_0", *wrong, "--quiet", "--json", code=1))
    return {row["type"]: row for row in said["files"]} | {"said": said, "root": run}


def test_sound_files_stay_near_and_are_never_failed(judged: dict[str, Any]) -> None:
    for kind, kl in (("F16", 1e-5), ("Q8_0", 1e-3)):
        assert judged[kind]["kl"] < kl and judged[kind]["broken"] == 0
        assert judged[kind]["verdict"] == "not shown"  # of 24 questions no file can be shown to lose less than a point
        assert judged[kind]["bits_per_byte"] == pytest.approx(judged[kind]["base_bits_per_byte"], rel=1e-3)


@pytest.mark.parametrize("kind", ["unpermuted", "flipped-f16", "flipped-q8-0"])
def test_wrong_files_fail(judged: dict[str, Any], kind: str) -> None:
    assert judged[kind]["verdict"] == "fails"
    assert "fails" in {finding["verdict"] for finding in judged[kind]["findings"] if finding["law"] in ("kl", "scores")}


def test_each_file_has_a_card_of_its_own_figures(judged: dict[str, Any]) -> None:
    folder = judged["root"] / "latest/gate"
    cards = {path.stem: path.read_text() for path in (folder / "cards").glob("*.md")}
    assert set(cards) == {"F16", "Q8_0", "unpermuted", "flipped-f16", "flipped-q8-0"}
    for kind, card in cards.items():
        row = judged[kind]
        assert row["sha256"] in card and f"{row['bytes']:,} bytes" in card and "not a medical device" in card
        if row["kl"] is not None:
            assert f"{row['kl']:.3g} [" in card
    assert json.loads((folder / "gate.json").read_text()) == judged["said"]
    assert (folder / "quantisation.png").read_bytes()[:4] == b"\x89PNG"


def test_a_wider_margin_lets_sound_files_pass_and_the_smallest_is_named(judged: dict[str, Any]) -> None:
    said = json.loads(medloom("gate", judged["root"], "--type", "F16", "--type", "Q8_0", "--margin", "40", "--quiet", "--json"))
    assert said["smallest"] == "Q8_0"
    table = medloom("gate", judged["root"], "--type", "F16", "--type", "Q8_0", "--margin", "40", "--quiet")
    assert "Smallest file that may ship: Q8_0" in table and "won" in table


def test_a_model_folder_is_judged_by_a_recipe(judged: dict[str, Any], tmp_path: Path) -> None:
    model = tmp_path / "mine"
    shutil.copytree((judged["root"] / "latest/finetune").resolve(), model)
    said = json.loads(medloom("gate", model, "--recipe", judged["root"] / "recipe.json", "--type", "F16", "--margin", "1",
                              "--set", "export.files=[]", "--quiet", "--json", "--out", tmp_path / "run", code=1))
    (row,) = said["files"]
    assert row["type"] == "F16" and row["kl"] < 1e-5


def test_what_cannot_be_judged_is_refused(judged: dict[str, Any], tmp_path: Path) -> None:
    model = judged["root"] / "latest/finetune"
    with pytest.raises(Refusal, match="name a recipe with --recipe"):
        medloom("gate", model)
    with pytest.raises(Refusal, match="neither the folder of a run"):
        medloom("gate", tmp_path)
    with pytest.raises(Refusal, match="no such file"):
        medloom("gate", judged["root"], "--file", tmp_path / "none.gguf", "--quiet")
