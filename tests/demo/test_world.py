"""The invented world: the same bytes for the same seed, real formats, and an exam whose answers stand only in the corpus."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from medloom.demo import RECIPE, demo_recipe, write_world
from medloom.demo.names import FIRSTS, SECONDS

# Stems that the World Health Organization keeps for real drugs, and endings of real diseases.
REAL_STEMS = ("cillin", "mycin", "cycline", "statin", "sartan", "pril", "olol", "azole", "mab", "tinib", "vir", "caine", "azepam",
              "gliptin", "parin", "setron", "triptan", "prazole", "oxacin", "itis", "osis", "emia", "oma", "pathy")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    write_world(out, 1, "tiny")
    return out


def digests(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def questions(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def corpus(world: Path) -> str:
    """All that the medical corpus says, by plain readers."""
    parts = []
    for path in sorted(world.glob("guidelines/html/*.html")):
        reader = Text()
        reader.feed(path.read_text())
        parts += reader.parts
    parts += [path.read_text() for path in sorted(world.glob("guidelines/text/*.md"))]
    for path in [world / "medline/invented.xml", *sorted(world.glob("jats/*.xml"))]:
        parts += etree.parse(path).getroot().itertext()
    return "\n".join(parts)


def test_same_seed_gives_the_same_bytes(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, 1, "tiny")
    assert digests(tmp_path) == digests(world)


def test_another_seed_gives_other_medicine_and_the_same_general_part(world: Path, tmp_path: Path) -> None:
    write_world(tmp_path, 2, "tiny")
    first, second = digests(world), digests(tmp_path)
    assert first["benchmarks/medqa/test.jsonl"] != second["benchmarks/medqa/test.jsonl"]
    general = [name for name in first if name.startswith("general/")]
    assert len(general) == 2
    assert all(first[name] == second[name] for name in general)


def test_medline_is_an_article_set_with_numbers_that_pubmed_lacks(world: Path) -> None:
    root = etree.parse(world / "medline/invented.xml").getroot()
    pmids = [int(node.text) for node in root.iterfind("PubmedArticle/MedlineCitation/PMID")]
    assert root.tag == "PubmedArticleSet"
    assert len(pmids) == len(set(pmids))
    assert min(pmids) > 900_000_000
    assert [int(node.text) for node in root.iterfind("DeleteCitation/PMID")] == [max(pmids)]
    assert {node.get("Label") for node in root.iter("AbstractText")} == {"BACKGROUND", "RESULTS", "CONCLUSIONS"}


def test_papers_have_sections_a_table_and_a_licence(world: Path) -> None:
    papers = sorted(world.glob("jats/*.xml"))
    assert papers
    for path in papers:
        root = etree.parse(path).getroot()
        assert root.find(".//body/sec/p") is not None
        assert root.find(".//table-wrap/caption") is not None
        assert root.find(".//license") is not None
        assert root.find(".//ref-list/ref") is not None


def test_medqa_form_marks_one_of_four_different_options(world: Path) -> None:
    for name in ("train", "test"):
        for question in questions(world / f"benchmarks/medqa/{name}.jsonl"):
            assert sorted(question["options"]) == list("ABCD")
            assert len(set(question["options"].values())) == 4
            assert question["options"][question["answer_idx"]] == question["answer"]


def test_pubmedqa_form_is_balanced_and_its_contexts_keep_the_answer(world: Path) -> None:
    entries = json.loads((world / "benchmarks/pubmedqa/test.json").read_text())
    decisions = [entry["final_decision"] for entry in entries.values()]
    assert set(decisions) == {"yes", "no", "maybe"}
    for entry in entries.values():
        assert len(entry["CONTEXTS"]) == len(entry["LABELS"])
        claim = re.sub(r"^(Is it known that \w+ \w+|Does \w+ \w+ really) ", "", entry["QUESTION"]).rstrip("?")
        assert claim not in " ".join(entry["CONTEXTS"])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_facts_of_the_test_are_never_asked_in_finetuning(seed: int, tmp_path: Path) -> None:
    write_world(tmp_path, seed, "tiny")
    from medloom.demo.facts import MEDICAL, MEDICAL_CLAIMS

    nouns = {relation.noun for relations in MEDICAL.values() for relation in relations}
    claims = {form: claim.base for several in MEDICAL_CLAIMS.values() for claim in several for form in (claim.base, claim.third)}

    def asked(text: str) -> tuple[str, str]:
        name = re.search(r"[A-Z]\w+ (?:" + "|".join([*SECONDS["disease"], *SECONDS["drug"]]) + r")\b", text)
        about = max((n for n in [*nouns, *claims] if n in text), key=len)
        assert name is not None
        return name.group(), claims.get(about, about)

    medqa = {name: [asked(q["question"]) for q in questions(tmp_path / f"benchmarks/medqa/{name}.jsonl")] for name in ("train", "test")}
    trials = {name: json.loads((tmp_path / f"benchmarks/pubmedqa/{name}.json").read_text()) for name in ("train", "test")}
    pubmedqa = {name: [asked(entry["QUESTION"]) for entry in entries.values()] for name, entries in trials.items()}
    for benchmark in (medqa, pubmedqa):
        assert benchmark["train"] and benchmark["test"] and not set(benchmark["train"]) & set(benchmark["test"])
        assert len(set(benchmark["test"])) == len(benchmark["test"]), "each fact of the test is asked once"


def test_the_corpus_states_every_answer_often_and_never_a_question(world: Path) -> None:
    from medloom.demo.medical import medical

    told = corpus(world)
    for fact in medical(1, "tiny").facts:
        sentences = [s for s in re.split(r"(?<=[.!?])\s", told) if fact.subject in s and fact.value in s]
        assert len(sentences) >= 5, fact
    for question in questions(world / "benchmarks/medqa/test.jsonl"):
        assert question["question"] not in told
    for entry in json.loads((world / "benchmarks/pubmedqa/test.json").read_text()).values():
        assert entry["QUESTION"] not in told


def test_general_text_says_nothing_of_the_invented_medicine(world: Path) -> None:
    from medloom.demo.medical import medical

    names = {name for names in medical(1, "tiny").things.values() for name in names}
    for path in world.glob("general/**/*.json*"):
        text = path.read_text()
        assert not {name for name in names if f"{name} is" in text or f"of {name}" in text}


def test_replay_holds_no_document_of_the_base_models_training(world: Path) -> None:
    seen, replay = ({q["text"] for q in questions(world / f"general/{name}.jsonl")} for name in ("text/general", "replay/replay"))
    assert replay and not seen & replay


def test_names_are_not_real() -> None:
    for first in FIRSTS:
        for second in (second for several in SECONDS.values() for second in several):
            assert not any(word.endswith(REAL_STEMS) for word in (first.lower(), second.lower()))


def test_every_file_says_that_the_world_is_invented(world: Path) -> None:
    for path in world.rglob("*"):
        if path.is_file():
            assert "invented world" in path.read_text().lower(), path


def test_the_demos_recipe_is_valid_and_takes_a_seed() -> None:
    recipe = demo_recipe(3, ["world.size=tiny"])
    assert RECIPE.is_file()
    assert recipe.seed == 3
    assert recipe.world is not None and (recipe.world.seed, recipe.world.size) == (3, "tiny")
