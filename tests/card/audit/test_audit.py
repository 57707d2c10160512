"""The audit: what it must find on the card that this project set out from, and what it must leave alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.card import Finding, audit
from medloom.card.audit.claims import parse_card
from medloom.card.audit.tables import split_tables
from medloom.ledger import Refusal

CONSISTENT = """
# Model card for Sound-7B

Sound-7B is a 7 billion parameters model, continued from Llama-2-7B on 48.1B tokens of medical text. We trained it on 8 nodes of
8x NVIDIA A100 GPUs for 73.6 hours, with 16-way data parallel, 4-way tensor parallel and pipeline parallel size of 1.

| Setting | Value |
| --- | --- |
| DP size | 16 |
| TP size | 4 |
| PP size | 1 |
| seq length | 2048 |
| micro batch size | 10 |
| global batch size | 1600 |
| gradient accumulation steps | 10 |
| steps | 14,679 |
| lr | 3e-4 |
| min lr | 3e-5 |

Sound-7B outperforms Llama-2-7B on PubMedQA.

| Dataset | Sound-7B | Llama-2-7B |
|---|---|---|
| PubMedQA | 74.4 | 61.8 |
| MedMCQA | 59.2 | 54.4 |
| Avg | 66.8 | 58.1 |

Total GPU hours: 4,710.4. At a TDP of 400 W and a PUE of 1.1, with 0.016 kgCO2/kWh, the emissions are
400 W / 1000 x 4,710.4 h x 1.1 x 0.016 = 33.2 kgCO2.
"""
HTML = """<html><body><h1>Odd</h1><p>Odd is a 7 billion parameters model trained on 48.1B tokens.</p>
<p>We trained on 8 A100 GPUs for 73.6 hours.</p>
<table><tr><th>Setting</th><th>Value</th></tr>
<tr><td>DP size</td><td>16</td></tr><tr><td>TP size</td><td>4</td></tr></table></body></html>"""


def run(text: str, tmp_path: Path) -> list[Finding]:
    path = tmp_path / "card.md"
    path.write_text(text)
    return audit(path)


def laws(findings: list[Finding], severity: str = "error") -> set[str]:
    return {finding.law for finding in findings if finding.severity == severity}


@pytest.fixture(scope="module")
def seed(shared: Path) -> list[Finding]:
    return audit(shared / "cards" / "meditron-7b-gguf.txt")


def found(findings: list[Finding], law: str, *parts: str) -> bool:
    told = [f"{finding.statement} {finding.arithmetic} {finding.remedy}" for finding in findings if finding.law == law]
    return any(all(part in text for part in parts) for text in told)


def test_seed_card_needs_294_percent_of_its_gpus(seed: list[Finding]) -> None:
    assert found(seed, "compute", "294%", "588.8", "1,73")
    assert found(seed, "compute", "4,710.4", "36.8%"), "the cure is worked out from the card's own table"


def test_seed_card_states_two_layouts_neither_time_nor_devices_agree(seed: list[Finding]) -> None:
    assert found(seed, "layout", "2 x 1 x 4 = 8", "16 x 4 x 1 = 64")
    assert found(seed, "layout", "64 devices", "8 are stated")


def test_seed_cards_carbon_under_either_factor_and_layout(seed: list[Finding]) -> None:
    assert found(seed, "carbon-factors", "1.5", "1.8")
    assert found(seed, "carbon", "235.5 kWh", "5.65 kg", "6.78 kg")
    assert found(seed, "carbon", "1,884.2 kWh", "45.2", "54.2")
    assert found(seed, "units", "400W / 1000W/kWh")


def test_seed_cards_impossible_cells_and_means(seed: list[Finding]) -> None:
    cells = [finding.statement for finding in seed if finding.law == "whole-questions"]
    assert len(cells) == 2
    assert "77.9" in cells[0] and "31.1" in cells[1]
    assert found(seed, "mean", "28.3", "28.20")
    assert len([finding for finding in seed if finding.law == "mean"]) == 1
    assert found(seed, "pooling", "med42-70b 69.7 (printed 58.0)")


def test_seed_cards_claims_go_beyond_its_scores(seed: list[Finding]) -> None:
    assert found(seed, "better-than", "meditron-7b is said to be better than pmc-llama-7b", "lower on MMLU-Medical", "-2.2")
    assert found(seed, "better-than", "meditron-7b is said to be better than llama-2-7b", "not shown", "MMLU-Medical 54.2 - 53.7")
    assert found(seed, "below-chance", "Mistral-7B-instruct on PubMedQA")
    assert found(seed, "double-counting", "MedQA, MedQA-4-Option", "meditron-7b 58.9", "llama-2-7b 53.5")
    assert found(seed, "own-numbers")
    assert found(seed, "schedule", "13.6%")
    assert found(seed, "schedule", "1e-06")


def test_a_consistent_card_raises_nothing(tmp_path: Path) -> None:
    assert run(CONSISTENT, tmp_path) == []


@pytest.mark.parametrize(("old", "new", "law"), [
    ("48.1B tokens", "480B tokens", "compute"),
    ("8 nodes of\n8x", "1 node of\n8x", "layout"),
    ("4-way tensor", "2-way tensor", "layout"),
    ("micro batch size | 10", "micro batch size | 7", "batch"),
    ("gradient accumulation steps | 10", "gradient accumulation steps | 12", "batch"),
    ("| steps | 14,679", "| steps | 23,000", "steps"),
    ("33.2 kgCO2", "66.4 kgCO2", "carbon"),
    ("x 1.1 x", "* 1.8 PUE x", "carbon-factors"),
    ("4,710.4. At", "9,420.8. At", "device-hours"),
    ("| 74.4 |", "| 74.33 |", "whole-questions"),
])
def test_one_change_to_a_consistent_card_is_found(old: str, new: str, law: str, tmp_path: Path) -> None:
    assert old in CONSISTENT
    assert law in laws(run(CONSISTENT.replace(old, new), tmp_path))


def test_a_wrong_average_is_found_and_a_rounded_one_is_not(tmp_path: Path) -> None:
    assert laws(run(CONSISTENT.replace("| 66.8 |", "| 86.8 |"), tmp_path)) == {"mean"}
    assert laws(run(CONSISTENT.replace("| 58.1 |", "| 58.2 |"), tmp_path), "warning") == {"mean"}


def test_counts_are_not_taken_for_scores(tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# Card\n\n| Benchmark sought in the corpus | Questions | Documents taken out |\n| --- | --- | --- |\n"
                    "| medqa | 1273 | 14 |\n| pubmedqa | 500 | 0 |\n")
    assert audit(card) == []


def test_html_and_flattened_text_are_read_as_markdown_is(tmp_path: Path) -> None:
    assert {"compute", "layout"} <= laws(run(HTML, tmp_path))
    flat = " ".join(CONSISTENT.split())
    assert run(flat, tmp_path) == []
    assert len(parse_card(flat).claims) == len(parse_card(CONSISTENT).claims)
    assert "compute" in laws(run(flat.replace("48.1B", "480B"), tmp_path))


def test_flattened_tables_come_out_as_they_went_in() -> None:
    lined = "before\n\n| a | b |\n| --- | --- |\n| x | 1 |\n| y | 2 |\n\nafter the table"
    _, tables = split_tables(lined)
    prose, flattened = split_tables(" ".join(lined.split()))
    assert flattened == tables
    assert prose.split() == ["before", "after", "the", "table"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_bytes(b"\xff\xfe\x00GGUF")
    with pytest.raises(Refusal, match="UTF-8"):
        audit(path)
    path.write_text("  \n")
    with pytest.raises(Refusal, match="empty"):
        audit(path)
    with pytest.raises(Refusal, match="cannot be read"):
        audit(tmp_path / "none.md")


def test_a_text_without_numbers_has_no_findings(tmp_path: Path) -> None:
    assert run("# A model\n\nIt exists. Patients wait 24 hours.", tmp_path) == []
