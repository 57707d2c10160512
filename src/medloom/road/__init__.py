"""The road: which steps a recipe asks for, and what each is made from. The one place where all rooms meet.

    world ─┬─ read-<source> ─┬─ corpus ── tokens ── pretrain ── finetune ── export-<type>
           └─ questions ─────┘                          │           │            │
                                     evaluate-<model>-<benchmark>, heldout-<model>, measure-<type> ── compare, gate ── card

It is built in stretches, each going on from the one before: learning, asking, shipping. Rooms are imported when their step runs, so that a
road on which nothing is left to do is walked in no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ledger import Refusal, Step, Workspace
from ..recipe import Recipe
from .shipping import Shipping


class Road(Shipping):
    """All the way, from files to the card."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if self._ends_with_adapter:
            return
        self._add_evaluation()
        self._add_export()
        self._add_comparison()
        self._add_gate()
        self._add_card()

    def until(self, stage: str) -> list[Step]:
        """The steps that a stage of the command line stands for: corpus, pretrain, finetune, evaluate, export, gate, card."""
        prefixes = {"corpus": ("tokens", "corpus"), "pretrain": ("pretrain",), "finetune": ("finetune",),
                    "evaluate": ("compare", "evaluate", "heldout"), "export": ("export", "importance", "measure"),
                    "gate": ("gate",), "card": ("card",)}[stage]
        found = [step for name, step in self.steps.items() if name.partition("-")[0] in prefixes]
        if not found and self._ends_with_adapter:
            raise Refusal(f"the recipe {self.recipe.name} ends with an adapter, and has nothing to {stage}: set finetune.lora.merge = true")
        if not found:
            cure = "a [corpus] to measure on and [export]" if stage == "gate" else f"the table [{stage}]"
            raise Refusal(f"the recipe {self.recipe.name} has nothing to {stage}: add {cure}")
        return found

    def _add_card(self) -> None:
        recipe = self.recipe
        inputs = dict(self.steps)

        def work(space: Workspace) -> Mapping[str, Any]:
            from ..card import write_card
            from ..summary import lineage

            return write_card(lineage(recipe, space.inputs), space.out, space.inputs, space.progress)

        params = {"recipe": recipe.model_dump(mode="json", exclude={"data"})}
        rooms = ("card", "numbers", "summary", "notice", "pages", "plots")
        self._add(Step("card", work, rooms, params=params, inputs=inputs, measured=("*",)))
