"""The card's front matter: YAML as the Hugging Face Hub reads it, every scalar written as JSON, which YAML contains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .making import GRAMS, base_name, machines
from .results import comparisons, final
from .trail import Trail


def front_matter(trail: Trail, name: str) -> list[str]:
    """Lines between and including the two rules. Emissions are in grams, as the Hub wants them; scores are fractions."""
    recipe = trail.recipe
    card, base = recipe.get("card") or {}, recipe.get("base") or {}
    fields: dict[str, Any] = {
        "license": card.get("licence") or base.get("licence") or "other",
        "language": list((recipe.get("corpus") or {}).get("languages") or ["en"]),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["medical", "llama", "medloom"] + (["gguf"] if trail.summary.get("quantisation") else []),
    }
    if not base.get("new"):
        fields |= {"base_model": base_name(recipe), "base_model_relation": "finetune"}
    own = [row for _, row in comparisons(trail) if row["model"] == final(trail)]
    if own:
        fields["metrics"] = ["accuracy"]
        fields["model-index"] = [{"name": name, "results": [_result(row) for row in own]}]
    grams = trail.find(GRAMS)
    if grams is not None:
        grid = recipe.get("grid") or {}
        fields["co2_eq_emissions"] = {
            "emissions": float(f"{grams:.4g}"),
            "source": "energy of each recorded step, measured or assumed as stated, x stated factors: see Environmental impact",
            "training_type": "pre-training" if recipe.get("pretrain") else "fine-tuning",
            "geographical_location": grid.get("region"), "hardware_used": machines(trail),
        }
    return ["---", *yaml_lines(fields), "---", ""]


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": {"type": "question-answering", "name": "Multiple choice"},
        "dataset": {"name": row["benchmark"], "type": row["benchmark"], "split": "test"},
        "metrics": [{"type": "accuracy", "name": f"accuracy, {row.get('mode') or 'multiple choice'}, n = {row['n']}",
                     "value": round(row["accuracy"], 6), "verified": False}],
    }


def yaml_lines(value: Any, indent: int = 0) -> list[str]:
    """A mapping or a sequence as lines of YAML."""
    lead = "  " * indent
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, Mapping | list) and inner:
                lines += [f"{lead}{key}:", *yaml_lines(inner, indent + 1)]
            else:
                lines.append(f"{lead}{key}: {json.dumps(inner, ensure_ascii=False)}")
        return lines
    for inner in value:
        if isinstance(inner, Mapping):
            first, *rest = yaml_lines(inner, indent + 1)
            lines += [f"{lead}- {first.lstrip()}", *rest]
        else:
            lines.append(f"{lead}- {json.dumps(inner, ensure_ascii=False)}")
    return lines
