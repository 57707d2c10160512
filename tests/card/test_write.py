"""The card: valid to the Hub, faithful to the ledger, honest in words, and clean under the audit of strangers' cards."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from medloom.card import NOTICE, audit, write_card
from medloom.card.trail import Trail


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_the_front_matter_is_yaml_that_the_hub_understands(lineage: dict[str, Any], tmp_path: Path) -> None:
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard_data import model_index_to_eval_results

    write_card(lineage, tmp_path)
    fields = front((tmp_path / "README.md").read_text())
    name, results = model_index_to_eval_results(fields["model-index"])
    assert name == "small"
    told = [(result.dataset_name, result.metric_type, result.metric_value) for result in results]
    assert told == [("invented", "accuracy", pytest.approx(47 / 60, abs=1e-6))]
    assert fields["co2_eq_emissions"]["emissions"] == pytest.approx(0.012 * 1.2 * 16)
    assert fields["base_model_relation"] == "finetune"
    assert ModelCardData(**{key: value for key, value in fields.items() if key != "model-index"}).language == ["en"]


def test_every_figure_of_the_card_is_where_its_key_says(lineage: dict[str, Any], tmp_path: Path) -> None:
    counted = write_card(lineage, tmp_path)
    machine = json.loads((tmp_path / "card.json").read_text())
    assert len(machine["figures"]) == counted["figures"] > 60
    trail = Trail(lineage)
    worked_out = 0
    for figure in machine["figures"]:
        if "(" in figure["key"]:
            worked_out += 1
        else:
            assert trail.find(figure["key"]) == figure["value"], figure
    assert worked_out < len(machine["figures"]) / 3
    keys = {figure["key"] for figure in machine["figures"]}
    assert {"compare:figures/rows/1/accuracy", "heldout-base:figures/general/bits_per_byte", "corpus:figures/sources/0/train/documents",
            "read-guidelines:figures/files", "tokens:figures/mixture/sources/1/share",
            "gate:figures/files/0/bytes", "gate:figures/files/0/benchmarks/0/lost", "recipe:pretrain/rate"} <= keys
    text = (tmp_path / "README.md").read_text()
    marks = {int(mark) for mark in re.findall(r"\[\^(\d+)\]", text.partition("## Provenance")[0])}
    assert marks == {figure["footnote"] for figure in machine["figures"]}


def test_words_claim_no_more_than_the_tests_show(lineage: dict[str, Any], tmp_path: Path) -> None:
    write_card(lineage, tmp_path)
    text = (tmp_path / "README.md").read_text()
    said = {model: next(line for line in text.splitlines() if line.startswith(f"- **{model} on")) for model in ("pretrained", "finetuned")}
    assert "not shown to differ from chance" in said["pretrained"]
    assert "a difference to base is not shown" in said["pretrained"]
    assert "above chance" in said["finetuned"]
    assert "shown to be better than base (+53.3 points, p < 0.0001 after Holm)" in said["finetuned"]
    assert "general**: bits per byte rose" in text
    assert "Not shown to do better than guessing: pretrained on invented" in text


def test_the_notice_stands_before_anything_else(lineage: dict[str, Any], tmp_path: Path) -> None:
    write_card(lineage, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert NOTICE in text
    assert text.index(NOTICE) < text.index("## Model details")
    assert "The medicine in this model is invented" in text


def test_the_same_lineage_gives_the_same_bytes(lineage: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_card(copy.deepcopy(lineage), tmp_path / name)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 8
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_our_own_card_passes_the_audit(lineage: dict[str, Any], tmp_path: Path) -> None:
    write_card(lineage, tmp_path)
    assert [finding for finding in audit(tmp_path / "README.md") if finding.severity != "note"] == []


def test_the_audit_would_see_a_wrong_score_and_wrong_carbon_in_our_own_card(lineage: dict[str, Any], tmp_path: Path) -> None:
    write_card(lineage, tmp_path)
    readme = tmp_path / "README.md"
    text = readme.read_text()
    readme.write_text(text.replace("| 78.3 |", "| 79.3 |", 1))
    assert [finding.law for finding in audit(readme)] == ["whole-questions"]
    readme.write_text(text.replace("0.0002304 kg", "0.0003304 kg"))
    assert [finding.law for finding in audit(readme)] == ["carbon", "agreement"], "against its factors and against the front matter"


def test_a_bare_lineage_still_gives_a_card(tmp_path: Path) -> None:
    write_card({"recipe": {"name": "bare", "base": {"path": "/somewhere/private/Llama"}}, "steps": [], "summary": {}}, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert NOTICE in text
    assert "private" not in text
    assert not (tmp_path / "accuracy.png").exists()
