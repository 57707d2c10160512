"""The machine-learning bill of materials: CycloneDX 1.6 (ECMA-424) with a model card, written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from ..ledger.files import sha256_json
from .compose import OUT_OF_SCOPE, Card
from .making import ENERGY, GRAMS, base_name
from .prose import plain
from .results import bounds, comparisons, final
from .trail import Trail, part

SPDX = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-4.0", "ODC-By-1.0")  # what CycloneDX takes as an id; others go by name
ACTIVITIES = {"world": "data-preparation", "questions": "data-preparation", "read": "data-preparation", "corpus": "data-preparation",
              "tokens": "data-preparation", "examples": "data-preparation", "pretrain": "training", "finetune": "fine-tuning",
              "evaluate": "validation", "heldout": "validation", "measure": "validation", "reference": "validation",
              "compare": "validation", "gate": "validation"}


def bom(card: Card) -> dict[str, Any]:
    """The bill: the model with its card, what it was made from, and the files, data sets and libraries that belong to it."""
    trail = card.trail
    parts = [*_files(trail), *_datasets(trail), *_libraries(trail)]
    finished = max((str(step["finished"]) for step in trail.steps.values() if step.get("finished")), default=None)
    lineage = sha256_json({name: step.get("digest") for name, step in trail.steps.items()})
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, f'medloom:{lineage}')}", "version": 1,
        "metadata": {**({"timestamp": finished} if finished else {}),
                     "tools": {"components": [{"type": "application", "name": "medloom"}]}, "component": _model(card)},
        "components": parts,
        "dependencies": [{"ref": "model", "dependsOn": [each["bom-ref"] for each in parts]}],
    }


def _model(card: Card) -> dict[str, Any]:
    recipe = card.trail.recipe
    stated, base = recipe.get("card") or {}, recipe.get("base") or {}
    licence = stated.get("licence") or base.get("licence")
    model: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": "model", "name": card.name, "description": card.notice}
    if stated.get("authors"):
        model["authors"] = [{"name": stated["authors"]}]
    if licence:
        model["licenses"] = [_licence(licence)]
    if not base.get("new"):
        model["pedigree"] = {"ancestors": [{"type": "machine-learning-model", "name": base_name(recipe),
                                            **({"licenses": [_licence(base["licence"])]} if base.get("licence") else {})}]}
    metrics, keys = _metrics(card.trail)
    energy = _energy(card.trail)
    model["modelCard"] = {
        "modelParameters": {"approach": {"type": "self-supervised"}, "task": "text-generation", "architectureFamily": "Llama",
                            "datasets": [{"ref": each["bom-ref"]} for each in _datasets(card.trail)],
                            "inputs": [{"format": "text"}], "outputs": [{"format": "text"}]},
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {
            "useCases": [_text(card, line) for line in card.section("uses").words[2:3]],
            "technicalLimitations": [_text(card, line) for line in [*OUT_OF_SCOPE, *_items(card, "limits"), *_items(card, "forgetting")]],
            "performanceTradeoffs": [_text(card, line) for line in card.section("files").words if line],
            "ethicalConsiderations": [{"name": _text(card, line)} for line in _items(card, "risk")],
            **({"environmentalConsiderations": {"energyConsumptions": energy}} if energy else {}),
        },
        "properties": [{"name": f"medloom:key:{name}", "value": key} for name, key in keys],
    }
    return model


def _items(card: Card, key: str) -> list[str]:
    return [line[2:] for line in card.section(key).words if line.startswith("- ")]


def _text(card: Card, line: str) -> str:
    return plain(line, card.trail.figures)


def _metrics(trail: Trail) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Accuracy and paired difference of the final model, and KL divergence of each file; and the ledger key of each."""
    metrics, keys = [], []

    def add(kind: str, part_: str, key: str, ends: tuple[str, str]) -> None:
        values = [trail.find(each) for each in (key, *ends)]
        if values[0] is not None:
            spread = {"confidenceInterval": dict(zip(("lowerBound", "upperBound"), map(_number, values[1:]), strict=True))}
            metrics.append({"type": kind, "value": _number(values[0]), "slice": part_, **(spread if None not in values else {})})
            keys.append((f"{kind}: {part_}", key))

    for place, row in comparisons(trail):
        if row["model"] == final(trail):
            name = f"{row['model']} on {row['benchmark']}"
            add("accuracy", name, f"{place}/accuracy", bounds(row, place))
            add("paired difference of accuracy", f"{name}, against {row['base']}", f"{place}/difference", (f"{place}/low", f"{place}/high"))
    for number, file in enumerate(trail.find("gate:figures/files") or ()):
        place = f"gate:figures/files/{number}"
        add("KL divergence from the model, nats a token", file["type"], f"{place}/kl", (f"{place}/kl_low", f"{place}/kl_high"))
        pooled = f"{place}/pooled"
        add("difference of accuracy to the model", file["type"], f"{pooled}/difference", (f"{pooled}/low", f"{pooled}/high"))
    return metrics, keys


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _energy(trail: Trail) -> list[dict[str, Any]]:
    """Energy and carbon by what it was spent on; carbon in tonnes, as the schema wants it."""
    total, grams = trail.find(ENERGY), trail.find(GRAMS)
    grid = trail.recipe.get("grid") or {}
    spent: dict[str, list[str]] = {}
    for name in trail.steps:
        if trail.find(f"{name}:energy/kwh") is not None:
            spent.setdefault(ACTIVITIES.get(name.partition("-")[0], "other"), []).append(f"{name}:energy/kwh")
    found = []
    for activity, keys in spent.items():
        kwh = {"value": trail.find(f"sum({', '.join(keys)})"), "unit": "kWh"}
        entry: dict[str, Any] = {"activity": activity, "activityEnergyCost": kwh, "energyProviders": [
            {"organization": {"name": str(grid.get("region") or "not stated")}, "energySource": "unknown", "energyProvided": kwh}]}
        if grams is not None and total:
            entry["co2CostEquivalent"] = {"value": grams / 1e6 * kwh["value"] / total, "unit": "tCO2eq"}
        entry["properties"] = [{"name": "medloom:key", "value": key} for key in keys]
        found.append(entry)
    return found


def _files(trail: Trail) -> Iterable[dict[str, Any]]:
    """The weights and the exported files, with their digests as recorded."""
    for name, path, output in model_files(trail):
        yield {"type": "file", "bom-ref": f"file:{name}/{path}", "name": f"{name}/{path}",
               "hashes": [{"alg": "SHA-256", "content": output["sha256"]}],
               "properties": [{"name": "medloom:key", "value": f"{name}:outputs/{part(path)}"}]}


def model_files(trail: Trail) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
    """Step, path and recorded size and digest of every file of the trained models and of the exported ones."""
    for name, step in trail.steps.items():
        if name.partition("-")[0] in ("pretrain", "finetune", "export"):
            yield from ((name, path, output) for path, output in sorted((step.get("outputs") or {}).items()))


def _datasets(trail: Trail) -> list[dict[str, Any]]:
    found = []
    for source in (trail.recipe.get("corpus") or {}).get("sources") or ():
        data = {"type": "data", "bom-ref": f"data:{source['name']}", "name": source["name"],
                "data": [{"type": "dataset", "name": source["name"], "description": f"{source['format']}, {source['domain']}"}]}
        found.append(data | ({"licenses": [_licence(source["licence"])]} if source.get("licence") else {}))
    return found


def _libraries(trail: Trail) -> Iterable[dict[str, Any]]:
    versions: dict[str, str] = {}
    for step in trail.steps.values():
        versions |= {name: version for name, version in (step.get("environment") or {}).items() if name not in ("python", "system")}
    for name, version in sorted(versions.items()):
        purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
        yield {"type": "library", "bom-ref": f"library:{name}", "name": name, "version": version, "purl": purl}


def _licence(name: str) -> dict[str, Any]:
    return {"license": {"id": name} if name in SPDX else {"name": name}}
