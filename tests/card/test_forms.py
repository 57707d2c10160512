"""The machine-readable forms are valid by the standards' own validators, and the page is one that a clinician can be given."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from lxml import etree
from scipy.stats import binomtest

from medloom.card import NOTICE, write_card
from medloom.card.trail import Trail

CHAI = "{https://mc.chai.org/v0.2/schema.xsd}"
SECTIONS = ("BasicInfo", "ReleaseInfo", "ModelSummary", "UsesAndDirections", "Warnings", "TrustIngredients", "KeyMetrics", "Resources",
            "Bibliography")
METRIC = ("MetricGoal", "Results", "Interpretation", "TestType", "TestingDataDescription", "ValidationProcessAndJustification")


@pytest.fixture
def card(lineage: dict[str, Any], tmp_path: Path) -> Path:
    write_card(lineage, tmp_path)
    return tmp_path


def bare(folder: Path) -> Path:
    """A card of a lineage that holds next to nothing."""
    write_card({"recipe": {"name": "bare", "base": {"path": "/somewhere/private/Llama"}}, "steps": [], "summary": {}}, folder)
    return folder


def faults_of(bill: str) -> str | None:
    """What the strict validator of CycloneDX 1.6 finds in a bill of materials."""
    pytest.importorskip("cyclonedx", reason="needs cyclonedx-python-lib[json-validation], of the extra dev")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill)
    return None if fault is None else str(fault)


def test_the_bill_of_materials_passes_the_strict_validator(card: Path, tmp_path: Path) -> None:
    text = (card / "mlbom.cdx.json").read_text()
    assert faults_of(text) is None
    assert faults_of((bare(tmp_path / "bare") / "mlbom.cdx.json").read_text()) is None
    assert faults_of(text.replace('"activity": "training"', '"activity": "schooling"')) is not None


def test_the_bill_tells_metrics_with_intervals_energy_and_files(card: Path, lineage: dict[str, Any]) -> None:
    model = json.loads((card / "mlbom.cdx.json").read_text())["metadata"]["component"]
    accuracy = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]
    assert (accuracy["type"], accuracy["value"]) == ("accuracy", "0.783333")
    peer = binomtest(47, 60).proportion_ci(method="wilson")
    assert [float(end) for end in accuracy["confidenceInterval"].values()] == pytest.approx([peer.low, peer.high], abs=1e-6)
    energy = model["modelCard"]["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert sum(each["activityEnergyCost"]["value"] for each in energy) == pytest.approx(0.012)
    assert sum(each["co2CostEquivalent"]["value"] for each in energy) == pytest.approx(0.012 * 1.2 * 16 / 1e6)
    trail = Trail(lineage)
    assert all(trail.find(each["value"]) is not None for each in model["modelCard"]["properties"])
    files = [part for part in json.loads((card / "mlbom.cdx.json").read_text())["components"] if part["type"] == "file"]
    assert [part["name"] for part in files] == ["export-Q4_K_M/model-Q4_K_M.gguf"]


def test_the_hub_reads_its_results(card: Path) -> None:
    from huggingface_hub import parse_eval_result_entries

    (entry,) = parse_eval_result_entries(yaml.safe_load((card / ".eval_results" / "medloom.yaml").read_text()))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("invented", "default", pytest.approx(100 * 47 / 60, abs=1e-4))
    assert entry.notes is not None
    assert "no data set of the Hub is named" in entry.notes


def test_a_recipe_can_name_the_hubs_data_set(lineage: dict[str, Any], tmp_path: Path) -> None:
    lineage["recipe"]["card"]["datasets"] = {"invented": "owner/invented"}
    write_card(lineage, tmp_path)
    (entry,) = yaml.safe_load((tmp_path / ".eval_results" / "medloom.yaml").read_text())
    assert entry["dataset"]["id"] == "owner/invented"


def test_chais_card_has_every_part_in_the_schemas_order(card: Path, tmp_path: Path) -> None:
    for folder in (card, bare(tmp_path / "bare")):
        root = etree.parse(folder / "applied-model-card.xml").getroot()
        assert root.tag == f"{CHAI}AppliedModelCard"
        assert [part.tag for part in root] == [CHAI + name for name in SECTIONS]
        assert [metric.tag for metric in root.find(f"{CHAI}KeyMetrics")] == [
            CHAI + name for name in ("UsefulnessUsabilityEfficacy", "FairnessEquity", "SafetyReliability")]
        for metric in root.find(f"{CHAI}KeyMetrics"):
            assert [part.tag for part in metric] == [CHAI + name for name in METRIC]
            for value in metric.iter(f"{CHAI}ValueJson"):
                json.loads(value.text)
        assert all(leaf.text and leaf.text.strip() for leaf in root.iter() if not len(leaf))


def test_chais_card_passes_chais_own_schema(card: Path, tmp_path: Path) -> None:
    schema = os.environ.get("MEDLOOM_CHAI_SCHEMA")
    if schema is None:
        pytest.skip("needs MEDLOOM_CHAI_SCHEMA, the path of v0.2/schema.xsd of github.com/coalition-for-health-ai/mc-schema")
    signature = tmp_path / "signature.xsd"
    signature.write_text('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="http://www.w3.org/2000/09/xmldsig#">'
                         '<xs:element name="Signature"/></xs:schema>')
    text = Path(schema).read_text().replace("http://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd", signature.as_uri())
    rules = etree.XMLSchema(etree.fromstring(text.encode()))
    for folder in (card, bare(tmp_path / "bare")):
        rules.assertValid(etree.parse(folder / "applied-model-card.xml"))


class Page(HTMLParser):
    """What a page holds: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_begins_with_the_notice_and_runs_and_fetches_nothing(card: Path) -> None:
    text = (card / "card.html").read_text()
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.findall(r"(?:src|href)=\"(?!#)|url\(|@import", text)
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    words = "".join(page.words)
    assert NOTICE in words
    assert words.index(NOTICE) < words.index("shown to be better")
    assert "The medicine in this model is invented." in words


def test_every_figure_of_the_page_leads_to_its_key(card: Path) -> None:
    page = Page((card / "card.html").read_text())
    places = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert len(links) > 100
    assert {str(link).removeprefix("#") for link in links} <= places
    keys = {figure["key"] for figure in json.loads((card / "card.json").read_text())["figures"]}
    titles = {attributes["title"] for tag, attributes in page.elements if attributes.get("class") == "figure"}
    assert titles <= keys
    assert len(titles) > 60


def test_what_comes_from_outside_is_text_in_every_form(lineage: dict[str, Any], tmp_path: Path) -> None:
    lineage["recipe"]["card"] |= {"model_name": "x<script>alert(1)</script>", "authors": "A & B <b>|c", "intended_use": "<img src=x>"}
    write_card(lineage, tmp_path)
    page = Page((tmp_path / "card.html").read_text())
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert "<script" not in (tmp_path / "README.md").read_text().split("---\n", 2)[2]
    root = etree.parse(tmp_path / "applied-model-card.xml").getroot()
    assert root.findtext(f".//{CHAI}ModelDeveloper") == "A & B <b>|c"


def test_a_bare_card_has_a_page_too(tmp_path: Path) -> None:
    words = "".join(Page((bare(tmp_path) / "card.html").read_text()).words)
    assert NOTICE in words
    assert "private" not in words
