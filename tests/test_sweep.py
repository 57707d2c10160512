"""A sweep over seeds, the verbs sweep and merge, and the road's finetuning by files, template and adapter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from medloom.ledger import Done, Ledger, Refusal, Silent, Step
from medloom.recipe import Recipe, RecipeError, read_recipe
from medloom.road import Road
from medloom.run import run
from medloom.sweep import Sweep, sweep

RECIPE = """
name = "swept"
[world]
size = "tiny"
[base]
path = "seedling"
[finetune]
benchmarks = ["exam"]
epochs = 2
length = 256
batch = 1
micro_batch = 1
rate = 1e-3
precision = "fp32"
device = "cpu"
[[evaluate.benchmarks]]
name = "exam"
kind = "medqa"
path = "benchmarks/medqa/test.jsonl"
train = "benchmarks/medqa/train.jsonl"
mode = "option-text"
limit = 12
"""


def recipe(folder: Path, *overrides: str) -> Recipe:
    (folder / "swept.toml").write_text(RECIPE)
    return read_recipe(folder / "swept.toml", overrides)


def walked(read: Recipe, root: Path, *seeds: int) -> tuple[Sweep, list[str]]:
    """What a sweep came to, and the steps that were run for it."""
    fresh: list[str] = []

    def tell(step: Step, done: Done) -> None:
        if done.fresh:
            fresh.append(step.name)

    return sweep(read, root, seeds, Silent(), tell), fresh


@pytest.mark.slow
def test_seeds_share_all_that_is_not_theirs(tmp_path: Path) -> None:
    read, root = recipe(tmp_path), tmp_path / "run"
    first, fresh = walked(read, root, 1, 2)
    assert fresh.count("finetune") == fresh.count("evaluate-finetuned-exam") == 2
    assert all(fresh.count(name) == 1 for name in ("world", "examples", "evaluate-base-exam"))
    (row,) = first.benchmarks
    assert len(row["accuracies"]) == 2 and all(0 <= 12 * accuracy <= 12 and (12 * accuracy) % 1 < 1e-9 for accuracy in row["accuracies"])
    assert row["mean"] == pytest.approx(sum(row["accuracies"]) / 2) and row["deviation"] == pytest.approx(stdev(row["accuracies"]))
    assert (row["low"], row["high"]) == (min(row["accuracies"]), max(row["accuracies"]))
    assert json.loads((root / "sweep.json").read_text()) == first.figures()
    weights = {path.parent.name: path.read_bytes() for path in (root / "steps").glob("finetune-*/model.safetensors")}
    assert len(weights) == 2 and len(set(weights.values())) == 2, "another seed is another model"
    again, fresh = walked(read, root, 1, 2)
    assert fresh == [] and again.benchmarks == first.benchmarks
    more, fresh = walked(read, root, 2, 1, 3)
    assert more.benchmarks[0]["accuracies"][:2] == row["accuracies"][::-1]
    assert sorted(fresh) == ["compare", "evaluate-finetuned-exam", "finetune"]
    assert Ledger(root).verify() == []
    # The recipe's own seed is that of a walk without a sweep.
    alone = Road(read).steps["finetune"].params
    assert read.finetune is not None
    same = read.model_copy(update={"finetune": read.finetune.model_copy(update={"seed": read.seed})})
    assert alone == Road(same).steps["finetune"].params and alone["seed"] == read.seed


def test_what_cannot_be_swept_is_refused(tmp_path: Path) -> None:
    read = recipe(tmp_path)
    for seeds in ((1,), (1, 1)):
        with pytest.raises(Refusal, match="two or more, all different"):
            walked(read, tmp_path / "run", *seeds)
    with pytest.raises(Refusal, match="needs \\[finetune\\]"):
        walked(read.model_copy(update={"finetune": None}), tmp_path / "run", 1, 2)
    with pytest.raises(Refusal, match="no model that could be asked"):
        walked(recipe(tmp_path, "finetune.lora.merge=false"), tmp_path / "run", 1, 2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("overrides", "says"), [
    (("finetune.benchmarks=[]",), "give benchmarks whose training questions are learned, or files"),
    (("finetune.template=chat-ml",), "finetune.template"),
    (("finetune.lora.targets=[]",), "finetune.lora.targets"),
    (("finetune.lora.targets=[\"embed_tokens\"]",), "finetune.lora.targets"),
    (("finetune.lora.rnak=8",), "did you mean rank"),
    (("finetune.lora.rank=8", "layout.tensor=2", "hardware.count=2"), "adapters are not split"),
])
def test_bad_settings_name_the_key(tmp_path: Path, overrides: tuple[str, ...], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        recipe(tmp_path, *overrides)


def medloom(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-m", "medloom", *map(str, words)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.mark.slow
def test_an_adapter_from_files_of_ones_own_merges_to_a_model(tmp_path: Path) -> None:
    talk: list[dict[str, Any]] = [{"messages": [{"role": "user", "content": f"How much of drug {n}?"},
                                                {"role": "assistant", "content": f"{n} mg."}]} for n in range(24)]
    (tmp_path / "talk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in talk))
    (tmp_path / "own.toml").write_text(
        'name = "own"\n[base]\npath = "seedling"\n[finetune]\nfiles = ["talk.jsonl"]\ntemplate = "llama2"\nlength = 128\nbatch = 2\n'
        'micro_batch = 2\nprecision = "fp32"\ndevice = "cpu"\n[finetune.lora]\nrank = 4\nmerge = false\n')
    root, read = tmp_path / "run", read_recipe(tmp_path / "own.toml")
    with pytest.raises(Refusal, match=r"needs <\|im_end\|>, <\|im_start\|>"):
        run(read_recipe(tmp_path / "own.toml", ["finetune.template=chatml"]), root, Silent(), lambda step, done: None)
    assert not root.exists(), "it is known before any work is done"
    run(read, root, Silent(), lambda step, done: None)
    road = Road(read)
    assert list(road.models) == ["base"] and list(road.steps) == ["examples", "finetune"], "an adapter alone is not evaluated"
    with pytest.raises(Refusal, match="ends with an adapter, and has nothing to export"):
        road.until("export")
    base = road.models["base"]
    said = json.loads(medloom("merge", root / "latest/finetune", "--base", base, "--out", tmp_path / "model", "--json").stdout)
    assert said["layers"] == 7 * json.loads((Path(str(base)) / "config.json").read_text())["num_hidden_layers"]
    assert "[INST]" in json.loads((tmp_path / "model/tokenizer_config.json").read_text())["chat_template"]
    assert (tmp_path / "model/model.safetensors").stat().st_size > 1e6


@pytest.mark.parametrize("verb", ["sweep", "merge"])
def test_the_verbs_help_with_an_example(verb: str) -> None:
    assert f"Example: medloom {verb} " in medloom(verb, "--help").stdout


def test_seeds_are_written_as_people_write_them() -> None:
    from medloom.cli.road import _seeds

    assert _seeds(["1", "2", "3"]) == _seeds(["1,2,3"]) == _seeds(["3"]) == [1, 2, 3]
    assert _seeds(["7", "5"]) == [7, 5]
    with pytest.raises(Refusal, match="whole numbers after the recipe"):
        _seeds(["a"])
