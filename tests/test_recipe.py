"""A recipe is read whole or refused in one line that names the file, the key and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from medloom.recipe import RecipeError, read_recipe

GOOD = """
name = "trial"
[base]
path = "models/base"
[[corpus.sources]]
name = "abstracts"
format = "medline"
path = "medline"
[[corpus.sources]]
name = "replay"
format = "jsonl"
path = "general.jsonl"
domain = "general"
share = 0.2
[pretrain]
rate = 1e-4
"""


def write(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_recipe_becomes_typed_and_frozen(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    assert recipe.pretrain is not None and recipe.pretrain.rate == 1e-4
    assert recipe.corpus is not None and [source.share for source in recipe.corpus.sources] == [None, 0.2]
    with pytest.raises(ValueError, match="frozen"):
        recipe.pretrain.rate = 1.0  # type: ignore[misc]


def test_tables_merge_key_by_key_when_a_recipe_extends_another(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "parent.toml")
    child = read_recipe(write(tmp_path, 'extends = "parent.toml"\nname = "child"\n[pretrain]\nbatch = 32\nmicro_batch = 8\n'))
    assert child.name == "child" and child.pretrain is not None
    assert (child.pretrain.rate, child.pretrain.batch) == (1e-4, 32)


def test_overrides_reach_tables_lists_and_bare_words(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    recipe = read_recipe(path, ["pretrain.rate=5e-5", "corpus.sources.replay.share=0.5", "base.path=other/model", "seed=7"])
    assert recipe.pretrain is not None and recipe.pretrain.rate == 5e-5
    assert recipe.corpus is not None and recipe.corpus.sources[1].share == 0.5
    assert (recipe.base.path, recipe.seed) == ("other/model", 7)


def test_paths_count_from_data_then_from_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, GOOD)
    assert read_recipe(path).locate("models/base") == tmp_path / "models/base"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert read_recipe(path, ["data=here"]).locate("models/base") == elsewhere / "here/models/base"


@pytest.mark.parametrize(("change", "says"), [
    ("[pretrain]\nrat = 1e-4", "pretrain.rat: unknown key; did you mean rate?"),
    ("[pretrain]\nrate = 'fast'", "pretrain.rate: input should be a valid number"),
    ("[pretrain]\nbatch = 3\nmicro_batch = 2", "batch = 3 is not a multiple of micro_batch = 2"),
    ("[layout]\ntensor = 2", "layout.data x tensor x pipeline = 2 processes"),
    ("[finetune]\nbenchmarks = ['medqa']", "names 'medqa', which is not among evaluate.benchmarks"),
    ("[pretrain]\nbetas = [2, 3]", "pretrain.betas.0: input should be less than 1"),
    ("[pretrain]\nepochs = 2\ntokens = 1000", "give either epochs or tokens"),
    ("[export]\ntypes = ['F16', 'F16']", "types and files name one twice"),
    ("[corpus]\nlanguages = []", "corpus.languages: "),
    ("[world]\nseed = 1\n[base]\npath = 'seedling'\ntokenizer = 3", "base.tokenizer: input should be a valid string"),
])
def test_faults_are_named_in_one_line(tmp_path: Path, change: str, says: str) -> None:
    write(tmp_path, GOOD, "good.toml")
    path = write(tmp_path, f'extends = "good.toml"\n{change}\n')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert says in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "says"), [
    ("name = ", "not valid TOML"),
    ("[" * 3000, "not valid TOML"),
    ('extends = "recipe.toml/other.toml"', "cannot be read: Not a directory"),
    ('extends = "absent.toml"', "absent.toml: no such recipe file"),
    ('extends = "recipe.toml"', "extends itself"),
    ("", "this key is required"),
])
def test_files_that_are_no_recipe(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize(("override", "says"), [
    ("pretrain.rate", "write key=value"),
    ("corpus.sources.papers.share=0.1", "no entry 'papers'; there are abstracts, replay"),
    ("seed.more=1", "seed is a value, not a table"),
])
def test_overrides_that_cannot_be(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        read_recipe(write(tmp_path, "seed = 1\n" + GOOD), [override])


def test_paths_that_no_machine_has(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    for path in ("~nosuchuser/x", "a\0b"):
        with pytest.raises(RecipeError, match="not a path"):
            recipe.locate(path)


def test_every_recipe_of_this_repository_is_good() -> None:
    recipes = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))
    assert len(recipes) >= 3
    for path in recipes:
        read_recipe(path)
