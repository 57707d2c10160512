"""The results as the Hugging Face Hub takes them for its leaderboards: `.eval_results/*.yaml`, a list of entries."""

from __future__ import annotations

from typing import Any

from .compose import Card
from .front import yaml_lines
from .results import bounds, comparisons, final
from .trail import show


def eval_results(card: Card) -> str | None:
    """The final model's accuracies in percent; None where none was compared.

    A benchmark whose data set on the Hub the recipe does not name (`card.datasets`) goes by its own name, which no leaderboard has.
    """
    trail = card.trail
    datasets = (trail.recipe.get("card") or {}).get("datasets") or {}
    entries = []
    for place, row in comparisons(trail):
        if row["model"] == final(trail):
            low, high = (show(trail.find(key), "percent") for key in bounds(row, place))
            name = row["benchmark"]
            told = f"{row.get('mode') or 'multiple choice'}, n = {row['n']}, 95 % interval {low} to {high}, key {place}/accuracy"
            entry: dict[str, Any] = {"dataset": {"id": datasets.get(name, name), "task_id": "default"},
                                     "value": round(100 * row["accuracy"], 4)}
            finished = trail.find(f"evaluate-{row['model']}-{name}:finished")
            entries.append(entry | ({"date": str(finished)[:10]} if finished else {})
                           | {"notes": told if name in datasets else f"{told}; of a local file, no data set of the Hub is named"})
    return "\n".join(yaml_lines(entries)) + "\n" if entries else None
