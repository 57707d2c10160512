"""A road over files of one's own: what one of them decides is made anew when it changes, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medloom.demo import write_world
from medloom.ledger import Ledger, Silent
from medloom.recipe import read_recipe
from medloom.run import run

RECIPE = """
name = "own"
data = "world"
[base]
path = "seedling"
[corpus]
near_duplicates = false
[[corpus.sources]]
name = "abstracts"
format = "medline"
path = "medline"
[[corpus.sources]]
name = "general"
format = "jsonl"
path = "general/replay"
[pretrain]
tokens = 1000
[[evaluate.benchmarks]]
name = "exam"
kind = "medqa"
path = "benchmarks/medqa/test.jsonl"
[[evaluate.benchmarks]]
name = "trials"
kind = "pubmedqa"
path = "benchmarks/pubmedqa/test.json"
"""


@pytest.mark.parametrize(("place", "dependants"), [
    ("medline", {"read-abstracts", "corpus", "tokens"}),
    ("general/replay", {"read-general", "corpus", "tokens"}),
    ("benchmarks/medqa/test.jsonl", {"questions", "corpus"}),  # the corpus is held against them anew, comes out the same, and ends it there
])
def test_a_changed_file_is_followed_to_exactly_what_rests_on_it(tmp_path: Path, place: str, dependants: set[str]) -> None:
    world = tmp_path / "world"
    write_world(world, 1, "tiny")
    (tmp_path / "own.toml").write_text(RECIPE)
    recipe = read_recipe(tmp_path / "own.toml")

    def fresh() -> set[str]:
        names: set[str] = set()
        run(recipe, tmp_path / "run", Silent(), lambda step, done: names.add(step.name) if done.fresh else None, until="corpus")
        return names

    assert fresh() == {"questions", "read-abstracts", "read-general", "corpus", "tokens"} and fresh() == set()
    file = world / place
    if file.is_dir():
        file = min(path for path in file.rglob("*") if path.is_file())
    if file.suffix == ".jsonl":
        first, _, rest = file.read_text().partition("\n")
        row = json.loads(first)
        key = "question" if "question" in row else "text"
        file.write_text(json.dumps({**row, key: "Quite another one. " + row[key]}) + "\n" + rest)
    else:
        before = file.read_text()
        file.write_text(re.sub("(<AbstractText[^>]*>)", r"\1Quite another one. ", before, count=1))
        assert file.read_text() != before
    assert fresh() == dependants and fresh() == set() and Ledger(tmp_path / "run").verify() == []
