"""The embedded default: a small invented world of medicine, a small base model that knows only its general part, and the demo's recipe."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from ..recipe import Recipe, read_recipe
from .world import write_world

SEEDLING = Path(__file__).parent / "seedling"
RECIPE = Path(__file__).parent / "demo.toml"


def demo_recipe(seed: int = 1, overrides: Iterable[str] = ()) -> Recipe:
    """The demo's recipe for one world: `seed` draws the world and the order of the data.

    Raises RecipeError for an override that the recipe cannot take.
    """
    return read_recipe(RECIPE, [f"seed={seed}", f"world.seed={seed}", *overrides])


def example_question(world: Path) -> str:
    """A question of the test, to try on the model: its answer stands in the corpus of `world`."""
    with (world / "benchmarks/medqa/test.jsonl").open(encoding="utf-8") as lines:
        question: str = json.loads(next(lines))["question"]
    return question


__all__ = ["RECIPE", "SEEDLING", "demo_recipe", "example_question", "write_world"]
