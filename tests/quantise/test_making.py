"""Files of any model folder, without a recipe: the same bytes as step by step, and nothing left lying about."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import pytest
from typer.testing import CliRunner

from medloom.cli import app
from medloom.ledger import Refusal
from medloom.quantise import collect_importance, export_gguf, make_files, quantise


def test_what_is_made_at_once_is_what_is_made_step_by_step(random_model: Path, texts: list[str], tmp_path: Path) -> None:
    calibration = tmp_path / "notes.jsonl"
    calibration.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = make_files(random_model, ["Q4_K_M", "F16", "IQ2_M"], tmp_path / "out", calibration=calibration, positions=120)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{random_model.name}-{end}" for end in ("F16.gguf", "F16.gguf.sha256", "IQ2_M.gguf", "IQ2_M.gguf.sha256", "Q4_K_M.gguf",
                                                 "Q4_K_M.gguf.sha256", "imatrix.gguf"))
    collect_importance(random_model, texts, 120, tmp_path / f"{random_model.name}-imatrix.gguf", dataset="notes.jsonl")
    export_gguf(random_model, tmp_path / "full.gguf", "F32")
    quantise(tmp_path / "full.gguf", tmp_path / "q.gguf", "Q4_K_M", importance=tmp_path / f"{random_model.name}-imatrix.gguf")
    made = {figures["type"]: Path(figures["file"]) for figures in found}
    ours, theirs = gguf.GGUFReader(made["Q4_K_M"]), gguf.GGUFReader(tmp_path / "q.gguf")
    assert all((one.data == other.data).all() for one, other in zip(ours.tensors, theirs.tensors, strict=True))
    assert ours.get_field("quantize.imatrix.dataset").contents() == "notes.jsonl"


def test_the_verb_makes_them_of_a_folder_and_of_a_file(random_model: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["quantise", str(random_model), "--type", "BF16", "--out", str(tmp_path), "--json", "--quiet"])
    (full,) = json.loads(done.stdout)["files"]
    done = CliRunner().invoke(app, ["quantise", full["file"], "--type", "Q8_0", "--out", str(tmp_path), "--json", "--quiet"])
    (file,) = json.loads(done.stdout)["files"]
    assert Path(file["file"]).name == f"{random_model.name}-Q8_0.gguf"
    assert Path(file["file"]).stat().st_size == file["bytes"]


def test_what_cannot_be_made_is_refused_before_any_work(random_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Refusal, match="Q7: not a type"):
        make_files(random_model, ["Q8_0", "Q7"], out)
    with pytest.raises(Refusal, match="not both"):
        make_files(random_model, ["Q8_0"], out, importance=tmp_path / "a", calibration=tmp_path / "b")
    with pytest.raises(Refusal, match="cannot be read as text"):
        make_files(random_model, ["Q8_0"], out, calibration=tmp_path / "none.txt")
    export_gguf(random_model, tmp_path / "full.gguf", "F16")
    with pytest.raises(Refusal, match="written from a model folder"):
        make_files(tmp_path / "full.gguf", ["BF16"], out)
    with pytest.raises(Refusal, match="collected on a model folder"):
        make_files(tmp_path / "full.gguf", ["Q8_0"], out, calibration=tmp_path / "b")
    assert not out.exists()
