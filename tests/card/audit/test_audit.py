"""The audit: what it must find on the card that this project set out from, and what it must leave alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medloom.card import Finding, audit

CARDS = Path(__file__).parent / "cards"
CONSISTENT = sorted((CARDS / "consistent").iterdir())


def run(text: str, tmp_path: Path) -> list[Finding]:
    path = tmp_path / "card.md"
    path.write_text(text)
    return audit(path)


def found(findings: list[Finding], law: str, *parts: str) -> bool:
    told = [f"{finding.statement} {finding.arithmetic} {finding.remedy}" for finding in findings if finding.law == law]
    return any(all(part in text for part in parts) for text in told)


def laws(findings: list[Finding], severity: str = "error") -> set[str]:
    return {finding.law for finding in findings if finding.severity == severity}


@pytest.fixture(scope="module", params=["markdown", "html", "flattened", "as it reached us"])
def seed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    if request.param == "as it reached us":
        return audit(request.getfixturevalue("shared") / "cards" / "meditron-7b-gguf.txt")
    if request.param == "html":
        return audit(CARDS / "seed-facts.html")
    text = (CARDS / "seed-facts.md").read_text()
    return run(text if request.param == "markdown" else " ".join(text.split()), tmp_path_factory.mktemp("seed"))


# The sums of ../shared/reference/card-and-audit.md, section 5, redone by hand.
@pytest.mark.parametrize(("law", "severity", "parts"), [
    ("compute", "error", ("294%", "588.8", "1.94e+21", "1,731", "4,710.4", "36.8%")),
    ("layout", "error", ("2 x 1 x 4 = 8", "16 x 4 x 1 = 64")),
    ("layout", "error", ("64 devices", "8 are stated")),
    ("carbon-factors", "error", ("1.5", "1.8", "1.2")),
    ("carbon", "error", ("235.5 kWh", "5.65 kg", "6.8 kgCO2", "PUE 1.8 gives 6.78 kg")),
    ("carbon", "warning", ("1,884.2 kWh", "30.15 kg", "45.22", "54.26")),
    ("units", "warning", ("400W / 1000W/kWh",)),
    ("whole-questions", "error", ("Nutrition of meditron-70b, 77.9 %", "12/16 = 75.00, 13/16 = 81.25")),
    ("whole-questions", "error", ("Nutrition of meditron-7b, 31.1 %", "4/16 = 25.00, 5/16 = 31.25")),
    ("mean", "error", ("28.3", "(27.3 + 31.1 + 21.1 + 33.3) / 4 = 28.20")),
    ("pooling", "note", ("med42-70b 69.7 (printed 58.0) = 69/99", "meditron-7b 27.3 (printed 28.3) = 27/99")),
    ("below-chance", "warning", ("Mistral-7B-instruct on PubMedQA", "17.8 % of 500", "guessing 33.3")),
    ("below-chance", "warning", ("PMC-llama-7b on Health", "3.6 % of 55")),
    ("double-counting", "warning", ("MedQA, MedQA-4-Option", "meditron-7b 58.9", "llama-2-7b 53.5", "pmc-llama-7b 53.9")),
    ("better-than", "warning", ("better than pmc-llama-7b", "lower on MMLU-Medical", "54.2 - 56.4 = -2.2")),
    ("better-than", "note", ("better than llama-2-7b", "not shown on MedQA, MedQA-4-Option, MMLU-Medical", "54.2 - 53.7 = +0.5", "p 0.76")),
    ("own-numbers", "warning", ("Q4_K_M",)),
    ("validation-tokens", "warning", ("48.1B", "46.7B training + 1.4B validation")),
    ("schedule", "note", ("13.6%", "14,679 steps")),
    ("schedule", "note", ("1e-06", "0.33%")),
])
def test_seed_card(seed: list[Finding], law: str, severity: str, parts: tuple[str, ...]) -> None:
    assert found([finding for finding in seed if finding.severity == severity], law, *parts)


def test_seed_card_has_no_more_than_that_and_each_with_its_passage(seed: list[Finding]) -> None:
    assert len(seed) == 20
    assert sum(finding.severity == "error" for finding in seed) == 8
    assert all(finding.quote and finding.arithmetic and finding.remedy for finding in seed)


@pytest.mark.parametrize("card", CONSISTENT, ids=lambda path: path.name)
def test_a_consistent_card_raises_nothing(card: Path, tmp_path: Path) -> None:
    assert audit(card) == []
    if card.suffix == ".md":
        assert run(" ".join(card.read_text().split()), tmp_path) == [], "its line breaks lost"


@pytest.mark.parametrize(("card", "old", "new", "law", "severity"), [
    ("sound-7b.md", "48.1B tokens", "480B tokens", "compute", "error"),
    ("sound-7b.md", "8 nodes of\n8x", "1 node of\n8x", "layout", "error"),
    ("sound-7b.md", "4-way tensor", "2-way tensor", "layout", "error"),
    ("sound-7b.md", "micro batch size | 10", "micro batch size | 7", "batch", "error"),
    ("sound-7b.md", "gradient accumulation steps | 10", "gradient accumulation steps | 12", "batch", "error"),
    ("sound-7b.md", "| steps | 14,679", "| steps | 23,000", "steps", "error"),
    ("sound-7b.md", "33.2 kgCO2", "66.4 kgCO2", "carbon", "error"),
    ("sound-7b.md", "x 1.1 x", "* 1.8 PUE x", "carbon-factors", "error"),
    ("sound-7b.md", "PUE of 1.1", "PUE of 0.9", "carbon-factors", "error"),
    ("sound-7b.md", "4,710.4. At", "9,420.8. At", "device-hours", "error"),
    ("sound-7b.md", "min lr | 3e-5", "min lr | 3e-3", "schedule", "error"),
    ("sound-7b.md", "| 74.4 |", "| 74.31 |", "whole-questions", "error"),
    ("counted.md", "| 70.3 |", "| 70.35 |", "whole-questions", "warning"),
    ("sound-7b.md", "| 74.4 |", "| 74.3 |", "whole-questions", "note"),
    ("sound-7b.md", "| 66.8 |", "| 86.8 |", "mean", "error"),
    ("sound-7b.md", "| 58.1 |", "| 58.2 |", "mean", "warning"),
    ("sound-7b.md", "Llama-2-7B on PubMedQA", "Llama-2-7B on MedQA. Its accuracy of 76.1% on PubMedQA", "scores-agree", "warning"),
    ("sound-7b.md", "| 61.8 |", "| 73.8 |", "better-than", "warning"),
    ("sound-7b.md", "| 61.8 |", "| 21.8 |", "below-chance", "warning"),
    ("family.md", "7B|184320", "7B|18432", "compute", "error"),
    ("family.md", "13B|368640", "13B|268640", "total", "error"),
    ("family.md", "7B|184320|400|31.22", "7B|184320|400|31220", "carbon-range", "warning"),
    ("trainer.md", "total_train_batch_size: 128", "total_train_batch_size: 512", "batch", "error"),
    ("trainer.md", "warmup_steps: 100", "warmup_steps: 3000", "schedule", "error"),
    ("seeds.md", "| 55.7 ±1.0 ", "| 55.5 ±1.0 ", "whole-questions", "error"),
    ("seeds.md", "±6.2", "±86.2", "range", "warning"),
    ("seeds.md", "| Anatomy ", "| MedQA 5 opts ", "double-counting", "warning"),
    ("page.html", "13B is a model of 13", "13B is a model of 130", "compute", "error"),
    ("page.html", "9.46 MWh", "19.46 MWh", "energy", "error"),
    ("page.html", "530 kg", "530 t", "carbon", "error"),
    ("page.html", "on MedQA, but", "on PubMedQA, but", "better-than", "warning"),
    ("index.md", "emissions: 420", "emissions: 0.42", "agreement", "warning"),
    ("index.md", "value: 0.752", "value: 0.753", "whole-questions", "note"),
    ("index.md", "for 2 epochs", "for 3 epochs", "agreement", "warning"),
    ("experts.md", "12.9B active", "46.7B active", "compute", "error"),
    ("finch.md", "Effective batch size | 128", "Effective batch size | 256", "batch", "error"),
    ("cardinal.md", "14,300 steps", "24,300 steps", "steps", "warning"),
    ("cardinal.md", "36 % MFU", "56 % MFU", "utilisation", "warning"),
    ("cardinal.md", "A difference to Llama-3.1-8B is shown on", "Cardinal 8B outperforms Llama-3.1-8B on", "better-than", None),
    ("cardinal.md", "difference to Llama-3.1-8B is shown on MedQA only", "fact: Cardinal 8B beats Llama-3.1-8B", "better-than", "warning"),
    ("owl.html", "<td>32</td>", "<td>64</td>", "layout", "error"),
    ("owl.html", "3,072", "6,144", "device-hours", "error"),
    ("heron-70b.md", "TP 8, PP 8", "TP 8, PP 4", "layout", "error"),
    ("heron-70b.md", "486 kgCO2", "286 kgCO2", "carbon", "error"),
    ("stages.md", "120M tokens of dialogues, on 8 H100 GPUs for 5", "20B tokens of dialogues, on 8 H100 GPUs for 0.5", "compute", None),
    ("calculator.md", "10.8 kg", "108 kg", "carbon", "error"),
    ("counted.md", "| 70.3 |", "| 70.34 |", "whole-questions", "error"),
    ("counted.md", "is better than", "is worse than", "better-than", None),
    ("tensor-unit.md", "115,000 tokens", "11,500 tokens", "throughput", "warning"),
    ("tensor-unit.md", "Hidden size: 4096", "Hidden size: 1024", "size", "warning"),
    ("tensor-unit.md", "40.7B", "30.7B", "total", "error"),
    ("tensor-unit.md", "| 4.9M |", "| 5.9M |", "total", "error"),
    ("tensor-unit.md", "Of these, 1.5B tokens for validation are not among",
     "These are 98.5B tokens and 1.5B tokens for validation. This is of", "validation-tokens", "warning"),
    ("quantised.md", "| F16 | Q8_0 | Q4_K_M |", "| rail-7b | rail-3b | rail-1b |", "own-numbers", "warning"),
], ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "")
def test_one_change_to_a_consistent_card_is_found(card: str, old: str, new: str, law: str, severity: str | None, tmp_path: Path) -> None:
    text = (CARDS / "consistent" / card).read_text()
    assert old in text
    path = tmp_path / card
    path.write_text(text.replace(old, new))
    told = {finding.law for finding in audit(path) if severity in (None, finding.severity)}
    assert (law in told) == (severity is not None), audit(path)


def test_numbers_of_other_cards(tmp_path: Path) -> None:
    # Llama 2's card leaves the 34B model out of the table whose totals count it (arXiv:2307.09288, table 2, has all four).
    llama = run("# Llama 2\n\n|  | Time (GPU hours) | Power Consumption (W) | Carbon Emitted(tCO2eq) |\n|---|---|---|---|\n"
                "| Llama 2 7B | 184320 | 400 | 31.22 |\n| Llama 2 13B | 368640 | 400 | 62.44 |\n| Llama 2 70B | 1720320 | 400 | 291.42 |\n"
                "| Total | 3311616 | | 539.00 |\n", tmp_path)
    assert found(llama, "total", "3311616", "2,273,280") and found(llama, "total", "539.00", "385.08")
    assert laws(llama) == {"total"} == {finding.law for finding in llama}
    # TinyLlama's evaluation page, one row: 55.25 is no share of ARC's 2,376 easy questions, and the mean does not come out either.
    tiny = run("# TinyLlama\n\n| Model | HellaSwag | Obqa | WinoGrande | ARC_c | ARC_e | boolq | piqa | avg |\n"
               "|---|---|---|---|---|---|---|---|---|\n"
               "| TinyLlama-1.1B | 59.20 | 36.00 | 59.12 | 30.12 | 55.25 | 57.83 | 73.29 | 52.99 |\n", tmp_path)
    assert found(tiny, "whole-questions", "1312/2376 = 55.22, 1313/2376 = 55.26")
    assert found(tiny, "mean", "52.99", "52.97")
    # BiMediX's Arabic table: 516.1 / 9, where the other two rows' means come out.
    bimedix = run("# BiMediX\n\n| Model | CKG | CBio | CMed | MedGen | ProMed | Ana | MedMCQA | MedQA | PubmedQA | AVG |\n"
                  "|---|---|---|---|---|---|---|---|---|---|---|\n"
                  "| Jais-30B | 52.1 | 50.7 | 40.5 | 49.0 | 39.3 | 43.0 | 37.0 | 28.8 | 74.6 | 46.1 |\n"
                  "| BiMediX (Arabic) | 60.0 | 54.9 | 55.5 | 58.0 | 58.1 | 49.6 | 46.0 | 40.2 | 76.6 | 55.4 |\n"
                  "| BiMediX (Bilingual) | 63.8 | 57.6 | 52.6 | 64.0 | 52.9 | 50.4 | 49.1 | 47.3 | 78.4 | 56.5 |\n", tmp_path)
    assert [finding.law for finding in bimedix] == ["mean"] and found(bimedix, "mean", "(Bilingual) is printed as 56.5", "57.34")
    # BiMediX's bilingual table prints means of an English and an Arabic test: shares of twice the questions.
    both = run("# BiMediX\n\nSubjects of MMLU.\n\n| Model | CKG | CBio | CMed | MedGen | ProMed | Ana |\n|---|---|---|---|---|---|---|\n"
               "| Jais-30B | 57.4 | 55.2 | 46.2 | 55.0 | 46.0 | 48.9 |\n"
               "| Mixtral-8x7B | 59.1 | 57.6 | 52.6 | 59.5 | 53.3 | 54.4 |\n", tmp_path)
    assert [finding.severity for finding in both] == ["warning"] and found(both, "whole-questions", "mean of 2", "313/(2 x 265)")
    # OpenBioLLM-70B's row: MedQA, MedMCQA and professional medicine are shares of their tests, four other columns are none.
    open_bio = run("# OpenBioLLM\n\nMMLU subjects and others.\n\n"
                   "| | Clinical KG | Medical Genetics | Anatomy | Pro Medicine | College Biology | College Medicine "
                   "| MedQA 4 opts | PubMedQA | MedMCQA |\n"
                   "|---|---|---|---|---|---|---|---|---|---|\n"
                   "| OpenBioLLM-70B | 92.93 | 93.197 | 83.904 | 93.75 | 93.827 | 85.749 | 78.162 | 78.97 | 74.014 |\n", tmp_path)
    assert [finding.severity for finding in open_bio] == ["warning"]
    assert "6 of 9 scores of OpenBioLLM-70B" in open_bio[0].statement


def test_counts_are_not_taken_for_scores(tmp_path: Path) -> None:
    assert run("# Card\n\n| Benchmark sought in the corpus | Questions | Documents taken out |\n| --- | --- | --- |\n"
               "| medqa | 1273 | 14 |\n| pubmedqa | 500 | 0 |\n", tmp_path) == []


def test_a_text_without_numbers_has_no_findings(tmp_path: Path) -> None:
    assert run("# A model\n\nIt exists. Patients wait 24 hours.", tmp_path) == []


def medloom(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "medloom", *words], capture_output=True, text=True, check=False)


def test_the_verb_prints_one_object_and_ends_with_the_answer(tmp_path: Path) -> None:
    wrong = medloom("audit", str(CARDS / "seed-facts.md"), "--json")
    assert wrong.returncode == 1
    told = json.loads(wrong.stdout)
    assert len(told["findings"]) == 20
    assert all({"law", "severity", "statement", "arithmetic", "remedy", "quote"} == set(finding) for finding in told["findings"])
    assert {"kind": "gpu_hours", "value": 588.8, "place": "table", "variant": ""}.items() <= told["claims"][0].items() or any(
        claim["kind"] == "gpu_hours" and claim["value"] == 588.8 for claim in told["claims"])
    right = medloom("audit", str(CARDS / "consistent" / "sound-7b.md"))
    assert right.returncode == 0
    assert "0 errors, 0 warnings, 0 notes." in right.stdout
    (tmp_path / "model.gguf").write_bytes(b"GGUF\0\0\xff\xfe")
    refused = medloom("audit", str(tmp_path / "model.gguf"), "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "UTF-8" in refused.stderr


def test_every_law_has_a_name_of_its_own_and_a_line_in_the_handbook(seed: list[Finding]) -> None:
    from medloom.card.audit import LAWS

    names = [law.name for law in LAWS]
    page = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
    assert len(set(names)) == len(names)
    assert all(f"| `{name}` |" in page for name in names)
    assert {finding.law for finding in seed} <= set(names), "a finding names the law that made it"
