"""A card's front matter, as far as it states figures: the base model, emissions and the model-index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .tables import Table

LONGEST = 200_000  # characters
_COUNTED = re.compile(r"^(?:acc|accuracy|exact[ _]match|acc_norm|mc1)\b", re.I)


def front_matter(source: str) -> Mapping[str, Any]:
    """The mapping between the dashes; empty where it is none, is broken or is far too long."""
    import yaml

    if len(source) > LONGEST:
        return {}
    try:
        found = yaml.safe_load(source)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError):
        return flattened_front(source)
    return found if isinstance(found, dict) else {}


def flattened_front(source: str) -> Mapping[str, Any]:
    """What can be told of front matter whose line breaks were lost or whose YAML is broken."""
    found: dict[str, Any] = {}
    base = re.search(r"\bbase_model:\s*(?:-\s+)?[\"']?([\w./-]+)", source)
    emissions = re.search(r"\bemissions:\s*(\d{1,12}(?:\.\d{1,9})?)", source)
    if base:
        found["base_model"] = base.group(1)
    if emissions:
        found["co2_eq_emissions"] = float(emissions.group(1))
    return found


def base_model(front: Mapping[str, Any]) -> str | None:
    """The one base model that is named; None where there are none or several."""
    named = front.get("base_model")
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    return named if isinstance(named, str) else None


def emissions_grams(front: Mapping[str, Any]) -> float | None:
    """Emissions of the front matter, which the hub reads as grams (huggingface.co/docs/hub/model-cards-co2)."""
    stated = front.get("co2_eq_emissions")
    if isinstance(stated, dict):
        stated = stated.get("emissions")
    return float(stated) if isinstance(stated, int | float) and not isinstance(stated, bool) and abs(stated) < 1e15 else None


def index_tables(front: Mapping[str, Any]) -> Iterator[Table]:
    """The model-index as tables of a benchmark and its accuracy, one a model."""
    index = front.get("model-index")
    for model in index[:50] if isinstance(index, list) else ():
        if not isinstance(model, dict) or not isinstance(model.get("results"), list):
            continue
        rows = [row for result in model["results"][:500] for row in _rows(result)]
        if rows:
            yield Table(("Benchmark", str(model.get("name") or "this model")), tuple(dict.fromkeys(rows)))


def _rows(result: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(result, dict) or not isinstance(result.get("dataset"), dict) or not isinstance(result.get("metrics"), list):
        return
    name = str(result["dataset"].get("name") or "")
    for metric in result["metrics"][:50]:
        if not isinstance(metric, dict):
            continue
        value, kind = metric.get("value"), str(metric.get("type") or metric.get("name") or "")
        if isinstance(value, int | float) and not isinstance(value, bool) and _COUNTED.match(kind):
            yield name, repr(value)
