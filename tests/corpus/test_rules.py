"""Rules of a source: the registry, how a recipe names them, and what each does to real and planted text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medloom.corpus import read_source
from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.readers.guidelines import read_guideline
from medloom.corpus.readers.rules import apply_rules
from medloom.ledger import Silent
from medloom.ledger.files import sha256_json
from medloom.recipe import Corpus, RecipeError, Rules, Source, read_recipe, registry

TEXT = """# Fever in children

Home | About us

# Key points

- Give <5 mg/kg [by mouth]; if age > 3 y, or (rarely) older, see https://example.org/dose(1)/a.
- obesity is no reason to wait
- or wait

References to earlier trials show that this is a safe way to treat a child with a fever at home.

## Dose

Give it twice a day (www.example.org), not more, as [the table](https://example.org/t) says: 5 mg < 10 mg > 2 mg.

| Age | Dose |
|---|---|
| 3 y | 5 |

## Update information

Reviewed by the team.

### Committee members

A. Smith

# Last updated May 2020

Parent information is elsewhere."""


def document(text: str, title: str | None = "Fever in children") -> Document:
    return Origin("guides", "medical", "a.md").document("guides:a.md", text, title=title)


def left(text: str = TEXT, title: str | None = "Fever in children", **rules: Any) -> str:
    found = apply_rules(document(text, title), Rules.model_validate(rules))
    assert isinstance(found, Document)
    return found.text


def test_the_registry_adds_up_to_the_paper_s_table() -> None:
    sources = registry()
    assert " ".join(sources) == "aafp cco cdc cma cps drugs gc icrc idsa magic mayo nice rch spor who wikidoc"
    assert sum(source.articles for source in sources.values()) == 45_606  # printed as 46,649, which its rows are not
    assert sum(source.tokens for source in sources.values()) == 112_636
    assert sum(source.articles for source in sources.values() if source.released) == 36_342
    for name, source in sources.items():
        assert source.address.startswith("https://") and Rules.model_validate(name).like == name


def test_no_rules_change_nothing() -> None:
    assert left() == TEXT


def test_each_source_s_rules_cut_whole_lines_and_leave_the_others_as_they_were() -> None:
    for name in registry():
        found = apply_rules(document(TEXT), Rules.model_validate({"like": name, "strip_urls": False, "heading_depth": None}))
        assert isinstance(found, Document) or found.reason.startswith("rule-"), name
        if isinstance(found, Document):
            assert set(found.text.split("\n")) <= set(TEXT.split("\n")), name


def test_start_and_stop_cut_at_headings_and_short_lines_alone() -> None:
    text = left(start=["key points"], stop=["references", "last updated"])
    assert text.startswith("# Fever in children\n\n# Key points\n\n- Give <5 mg/kg [by mouth]; if age > 3 y")
    assert "Home | About us" not in text and "Parent information" not in text
    assert "References to earlier trials show" in text and text.endswith("A. Smith")
    assert left(start=["no such line"], stop=["nor this"]) == TEXT
    assert left("1. Introduction\n\nText of it.\n\n2.1 References\n\nSmith", None, stop=["references"]) == "1. Introduction\n\nText of it."


def test_lines_go_by_their_beginning() -> None:
    text = left(remove=["home |", "OR WAIT"])
    assert "About us" not in text and "\n- or wait" not in text and "- obesity is no reason to wait" in text


def test_sections_go_with_what_is_below_them() -> None:
    text = left(drop_sections=["update"])
    assert "Reviewed" not in text and "A. Smith" not in text and "| 3 y | 5 |" in text  # "Last updated" has such a word as well
    assert left("# Steam\n\nInhale.\n\n# The team\n\nNames.", None, drop_sections=["team"]) == "# Steam\n\nInhale."


def test_short_lines_go_but_items_rows_and_headings_stay() -> None:
    text = left(f"{TEXT}\n\n5 mg", min_words_per_line=3)
    assert "A. Smith" not in text and text.endswith("\n\n5 mg") and "- or wait" in text and "| 3 y | 5 |" in text and "## Dose" in text


def test_addresses_go_and_their_sentences_stay() -> None:
    text = left(strip_urls=True)
    assert "- Give <5 mg/kg [by mouth]; if age > 3 y, or (rarely) older, see." in text
    assert "Give it twice a day, not more, as the table says: 5 mg < 10 mg > 2 mg." in text and "example.org" not in text


def test_headings_are_found_by_capitals_and_moved() -> None:
    text = left("PATIENT CARE\n\n- STOP\n\nDO NOT GIVE: 5 MG\n\nText of it.", None, capital_headings=True)
    assert text == "# PATIENT CARE\n\n- STOP\n\n# DO NOT GIVE: 5 MG\n\nText of it."
    assert left("## A\n\n### B\n\n##### C\n\n###### D", None, heading_depth=3) == "# A\n\n## B\n\n### C\n\n### D"


@pytest.mark.parametrize(("rules", "text", "reason"), [
    ({"drop_if": ["in development"]}, "# X\n\nThis guideline is currently IN DEVELOPMENT.", "rule-drop-if"),
    ({"min_lines": 5}, "One.\n\nTwo.\n\nThree.\n\nFour.", "rule-min-lines"),
    ({"min_long_lines": 2}, TEXT.split("## Dose")[0].replace("- Give", "Give").split("# Key")[0] + "word " * 11, "rule-min-long-lines"),
    ({"stop": ["contents"]}, "Contents\n\nAll of it.", "rule-nothing-left"),
    ({"start": ["key"], "stop": ["dose"]}, "# Fever in children\n\n# Dose\n\nAll of it.", "rule-nothing-left"),
])
def test_a_dropped_document_names_its_rule(rules: dict[str, Any], text: str, reason: str) -> None:
    found = apply_rules(document(text), Rules.model_validate(rules))
    assert isinstance(found, Drop) and (found.id, found.reason) == ("guides:a.md", reason) and found.detail


def test_a_notice_is_short() -> None:
    assert left(f"The way is in development. {'Give it. ' * 150}", None, drop_if=["in development"])


def test_real_one_pagers_lose_addresses_and_no_advice_under_nice_s_rules(shared: Path) -> None:
    for path in sorted((shared / "corpus/guidelines_txt/nice").glob("*.txt")):
        page = read_guideline(path.read_bytes(), Origin("nice", "medical", path.name))
        assert isinstance(page, Document)
        found = apply_rules(page, Rules.model_validate("nice"))
        assert isinstance(found, Document) and page.text.count("\n") == found.text.count("\n")  # not one line is lost


def test_real_text_in_capitals_gets_headings(shared: Path) -> None:
    path = shared / "corpus/guidelines_txt/nstg/ABORTION.txt"
    page = read_guideline(path.read_bytes(), Origin("nstg", "medical", path.name))
    assert isinstance(page, Document)
    text = left(page.text, page.title, capital_headings=True)
    assert text.startswith("# ABORTION\n") and "\n# CLINICAL FEATURES OF ABORTION\n" in text and "- Threatened abortion" in text
    assert text.replace("# ", "") == page.text.replace("# ", "")


def test_a_real_who_guideline_under_who_s_rules(shared: Path) -> None:
    path = next((shared / "corpus/guidelines_pdf").glob("*echinococcosis.pdf"))
    page = read_guideline(path.read_bytes(), Origin("who", "medical", path.name))
    assert isinstance(page, Document)
    text = left(page.text, page.title, like="who")
    assert "Under the terms of this licence" not in text and "gratefully acknowledges" not in text and "iris.who.int" not in text
    assert "# 1. Introduction" in text and "< 5 cm, treatment with albendazole (ALB) is suggested." in text


RECIPE = """name = "x"
[base]
path = "seedling"
[corpus]
[[corpus.sources]]
name = "guides"
format = "guidelines"
path = "guides"
"""


def source_of(tmp_path: Path, more: str) -> Source:
    (tmp_path / "r.toml").write_text(RECIPE + more)
    corpus = read_recipe(tmp_path / "r.toml").corpus
    assert corpus is not None
    return corpus.sources[0]


def test_a_recipe_names_rules_or_writes_them(tmp_path: Path) -> None:
    assert source_of(tmp_path, "").rules is None
    named = source_of(tmp_path, 'rules = "rch"').rules
    assert named is not None and named.start == ("key points",) and "references" in named.stop
    like = source_of(tmp_path, '[corpus.sources.rules]\nlike = "rch"\nstop = ["sources"]\nmin_lines = 3').rules
    assert like is not None and (like.start, like.stop, like.min_lines) == (named.start, ("sources",), 3)
    own = source_of(tmp_path, '[corpus.sources.rules]\nremove = ["advertisement"]').rules
    assert own == Rules(remove=("advertisement",))


@pytest.mark.parametrize(("more", "words"), [
    ('rules = "nicee"', r"corpus\.sources\.0\.rules: no rules named 'nicee'; known are aafp, .*wikidoc"),
    ('[corpus.sources.rules]\nlike = "x"', "no rules named 'x'"),
    ('[corpus.sources.rules]\nstarts = ["a"]', r"rules\.starts: unknown key; did you mean start\?"),
    ('[corpus.sources.rules]\nstop = [""]', "empty phrase"),
    ('[corpus.sources.rules]\nheading_depth = 0', "heading_depth: .*greater than 0"),
])
def test_bad_rules_are_a_recipe_s_fault(tmp_path: Path, more: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        source_of(tmp_path, more)


def test_a_digest_holds_what_a_name_stands_for(tmp_path: Path) -> None:
    named = source_of(tmp_path, 'rules = "nice"').model_dump(mode="json")
    assert named["rules"]["drop_sections"] == list(registry()["nice"].rules["drop_sections"])
    assert Source.model_validate(named).model_dump(mode="json") == named
    other = source_of(tmp_path, '[corpus.sources.rules]\nlike = "nice"\nheading_depth = 2').model_dump(mode="json")
    assert sha256_json(named) != sha256_json(other)


DOCS = Path(__file__).resolve().parents[2] / "docs/sources.md"


def test_what_the_documentation_shows_is_a_recipe(tmp_path: Path, shared: Path) -> None:
    text = DOCS.read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    head = '[[corpus.sources]]\nname = "x"\nformat = "guidelines"\npath = "x"\n'
    sources = []
    for example in examples:
        (tmp_path / "r.toml").write_text('name = "x"\n[base]\npath = "seedling"\n' + (example if "[[" in example else head + example))
        corpus = read_recipe(tmp_path / "r.toml").corpus
        assert corpus is not None
        sources.append(corpus.sources[0])
    path = shared / "corpus/guidelines_xml/ngc-10349.xml"
    page = read_guideline(path.read_bytes(), Origin("ngc", "medical", path.name))
    assert isinstance(page, Document) and sources[1].rules is not None and "# Description of Methods Used" in page.text
    found = apply_rules(page, sources[1].rules)
    assert isinstance(found, Document) and "# Description of" not in found.text and "# Major Recommendations" in found.text
    for name, source in registry().items():
        assert f"| `{name}` | {source.publisher} | {source.form} | {source.articles:,} | {source.tokens:,} |" in text
    for key in Rules.model_fields:
        assert f"| `{key} = " in text


def test_rules_apply_to_any_format_and_their_drops_are_counted(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    records = [{"id": "1", "text": TEXT, "title": "Fever in children"}, {"id": "2", "text": "This guideline is currently in development."}]
    (tmp_path / "in/a.jsonl").write_text("\n".join(map(json.dumps, records)))
    rules = {"like": "idsa", "start": [], "stop": ["last updated"]}
    source = Source.model_validate({"name": "web", "format": "jsonl", "path": "in", "rules": rules})
    figures = read_source(source, tmp_path / "in", Corpus(sources=(source,), workers=1), tmp_path / "out", Silent(), tmp_path / "state")
    assert (figures["documents"], figures["dropped"]) == (1, {"rule-drop-if": 1})
    text = pq.read_table(tmp_path / "out/part-00000.parquet")["text"][0].as_py()
    assert "Give <5 mg/kg [by mouth]; if age > 3 y" in text and "Parent information" not in text
