"""A small lineage as a run leaves it, with numbers that hold together."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from medloom.card import write_card
from medloom.ledger import Ledger, Silent, Step, Workspace
from medloom.recipe import Recipe
from medloom.summary import lineage as lineage_of


def comparison(model: str, right: int, base_right: int, p: float, holm: float, base: str = "base", n: int = 60) -> dict[str, Any]:
    difference = (right - base_right) / n
    return {"benchmark": "invented", "mode": "top-token", "model": model, "base": base, "n": n, "chance": 0.25, "accuracy": right / n,
            "base_accuracy": base_right / n, "difference": difference, "low": difference - 0.15, "high": difference + 0.15, "p_value": p,
            "unparsed": 0, "majority": 0.3, "holm_p": holm}


def step(name: str, figures: dict[str, Any], kwh: float = 0.001, **more: Any) -> dict[str, Any]:
    return {"name": name, "digest": f"{name}-digest-0123456789", "code": "c0de" * 4, "params": {}, "inputs": {}, "outputs": {},
            "figures": figures, "environment": {"python": "3.12"}, "hardware": {"processor": "a processor", "cores": 2},
            "wall_seconds": 36.0, "cpu_seconds": 60.0, "peak_mb": 900.0,
            "energy": {"kwh": kwh, "method": "assumed: 100 W over the wall time"}, **more}


def heldout(bits: float) -> dict[str, Any]:
    return {"bits_per_byte": bits, "documents": 4, "bytes": 1000}


@pytest.fixture
def lineage() -> dict[str, Any]:
    return small_lineage()


def small_lineage() -> dict[str, Any]:
    recipe = Recipe.model_validate({
        "name": "small", "world": {"seed": 1}, "base": {"path": "seedling"},
        "corpus": {"sources": [{"name": "guidelines", "format": "guidelines", "path": "g"},
                               {"name": "replay", "format": "text", "path": "r", "domain": "general", "licence": "CC0-1.0", "share": 0.2}]},
        "pretrain": {"length": 128, "tokens": 100_000},
        "grid": {"g_per_kwh": 16, "pue": 1.2, "source": "a table of 2023", "region": "here"},
        "evaluate": {"benchmarks": [{"name": "invented", "kind": "medqa", "path": "q"}]}, "export": {"types": ["F16", "Q4_K_M"]},
    })
    rows = [comparison("pretrained", 17, 15, 0.8, 0.9), comparison("finetuned", 47, 15, 1e-6, 3e-6),
            comparison("Q4_K_M", 46, 47, 1.0, 1.0, base="finetuned")]
    return {
        "recipe": recipe.model_dump(mode="json"),
        "steps": [
            step("read-guidelines", {"files": 3, "documents": 61, "dropped": {"empty": 1}, "wall_seconds": 1.0}),
            step("corpus", {"records": 100, "dropped": {"duplicate": 10}, "near_duplicate_share": 0.1, "sources": [
                {"name": "guidelines", "records": 60, "dropped": {"duplicate": 10}, "train": {"documents": 48}, "valid": {"documents": 2}},
                {"name": "replay", "records": 40, "dropped": {}, "train": {"documents": 38}, "valid": {"documents": 2}}],
                "benchmarks": {"invented": {"questions": 60, "documents_dropped": 0}}}),
            step("tokens", {"tokens_in_stock": 9000, "mixture": {"tokens": 10_000, "sources": [
                {"name": "guidelines", "share": 0.8, "tokens": 8000}, {"name": "replay", "share": 0.2, "tokens": 2000}]}}),
            step("pretrain", {"steps": 49, "loss": 2.5, "tokens_per_second": 900.0}, kwh=0.004),
            step("compare", {"comparisons": 3, "rows": rows}),
            step("heldout-base", {"medical": heldout(2.0), "general": heldout(1.5)}),
            step("heldout-finetuned", {"medical": heldout(1.1), "general": heldout(1.6)}),
            step("export-Q4_K_M", {}, outputs={"model-Q4_K_M.gguf": {"sha256": "0" * 64, "bytes": 3_456_789}}),
            step("gate", {"margins": {"accuracy": 0.01, "kl": 0.01}, "smallest": None, "files": [
                {"type": "Q4_K_M", "bytes": 3_456_789, "kl": 0.012, "kl_high": 0.018, "kl_99": 0.11, "argmax_agreement": 0.97,
                 "bits_per_byte": 1.105, "base_bits_per_byte": 1.1, "verdict": "not shown",
                 "pooled": {"n": 60, "accuracy": 46 / 60, "difference": -1 / 60, "low": -0.088, "high": 0.046},
                 "benchmarks": [{"benchmark": "invented", "n": 60, "accuracy": 46 / 60, "base_accuracy": 47 / 60, "difference": -1 / 60,
                                 "gained": 0, "lost": 1, "p_value": 1.0, "ece": 0.08}]}]}),
        ],
        "summary": {
            "stages": [], "comparisons": rows[:2],
            "forgetting": [{"domain": "general", "before": 1.5, "after": 1.6, "stages": {"base": 1.5, "finetuned": 1.6}},
                           {"domain": "medical", "before": 2.0, "after": 1.1, "stages": {"base": 2.0, "finetuned": 1.1}}],
            "quantisation": [{"type": "Q4_K_M"}],
        },
    }


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A run of the test's own, to be altered."""
    return Path(shutil.copytree(finished, tmp_path / "run", symlinks=True))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder as the ledger leaves it: the lineage's steps with their figures, answers, a model, and the card."""
    root, lineage = tmp_path_factory.mktemp("run") / "run", small_lineage()
    recipe = Recipe.model_validate(lineage["recipe"])
    files = {"pretrain": {"model.safetensors": b"weights"}, "export-Q4_K_M": {"model-Q4_K_M.gguf": b"GGUF" * 10}}
    steps: list[Step] = []
    for recorded in lineage["steps"]:
        figures = copy.deepcopy(recorded["figures"])
        if recorded["name"] == "gate":
            figures["files"][0] |= {"file": "model-Q4_K_M.gguf", "bytes": 40}

        def work(space: Workspace, figures: Any = figures, name: str = recorded["name"]) -> Any:
            for path, content in files.get(name, {}).items():
                (space.out / path).write_bytes(content)
            return figures

        steps.append(Step(recorded["name"], work, ("notice",)))

    def answered(space: Workspace) -> Any:
        lines = [{"id": f"q{number}", "choice": 0 if number < 47 else 1, "gold": 0} for number in range(60)]
        (space.out / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return {"n": 60, "correct": 47, "accuracy": 47 / 60}

    steps.append(Step("evaluate-finetuned-invented", answered, ("notice",)))

    def written(space: Workspace) -> Any:
        return write_card(lineage_of(recipe, space.inputs), space.out, space.inputs)

    params = {"recipe": recipe.model_dump(mode="json", exclude={"data"})}
    card = Step("card", written, ("card", "summary"), params=params, inputs={step.name: step for step in steps}, measured=("*",))
    ledger = Ledger(root)
    with ledger.opened():
        list(ledger.walk([card], Silent()))
    return root
