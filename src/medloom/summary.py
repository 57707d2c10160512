"""What a run came to: its comparisons, what it forgot, what quantisation cost, and the lineage that the card is written from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .ledger import Done, Refusal
from .ledger.files import read_json, write_json
from .notice import NOTICE
from .recipe import Recipe


def compare_all(answers: Mapping[str, Path], pairs: Sequence[tuple[str, str, str]], modes: Mapping[str, str], out: Path) -> dict[str, Any]:
    """Hold each (benchmark, model, base) of `pairs` against each other on the same questions; write comparisons.json.

    `answers` maps "<model>-<benchmark>" to its answers. P-values are corrected by Holm's method over all pairs.
    """
    from .evaluate import adjust, compare

    found = [compare(answers[f"{model}-{benchmark}"], answers[f"{base}-{benchmark}"],
                     benchmark=benchmark, mode=modes[benchmark], model=model, base_name=base) for benchmark, model, base in pairs]
    rows = [comparison.figures() for comparison in adjust(found)]
    write_json(out / "comparisons.json", rows)
    return {"comparisons": len(rows), "rows": rows}


def lineage(recipe: Recipe, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Recipe, records and results in one value: what the card is written from."""
    records = {name: read_json(folder / "record.json") for name, folder in folders.items()}
    return {"recipe": recipe.model_dump(mode="json", exclude={"data"}), "notice": NOTICE, "steps": list(records.values()),
            "summary": _results(records)}


def summarise(recipe: Recipe, done: Mapping[str, Done], root: Path, seconds: float) -> dict[str, Any]:
    """The content of summary.json: results, seconds and peak memory (megabytes) of each stage, plans and what came, where things lie."""
    records = {name: result.record for name, result in done.items()}
    stages = [{"name": name, "seconds": r["wall_seconds"], "peak_mb": r["peak_mb"]} for name, r in records.items()]
    card = done.get("card")
    kept = ("pretrain", "finetune", "export", "card")
    files = {name: str(result.folder) for name, result in done.items() if name.partition("-")[0] in kept}
    return {"seconds": round(seconds, 2), "stages": stages, **_results(records), "plan": _plan(recipe, records), "files": files,
            "card": str(card.folder / "README.md") if card else None, "ledger": str(root / "ledger.jsonl")}


def _plan(recipe: Recipe, records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each training stage as it was planned, and as it came; empty where no plan can be made."""
    from .plan import against, plan

    trained = {name: records[name] for name in ("pretrain", "finetune") if name in records}
    if not trained:
        return []
    try:
        planned = plan(recipe, tokens={name: record["figures"]["tokens"] for name, record in trained.items()})
    except Refusal:
        return []
    return [against(record, planned) for record in trained.values()]


def _results(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    rows = records["compare"]["figures"]["rows"] if "compare" in records else []
    models = [name.removeprefix("heldout-") for name in records if name.startswith("heldout-")]
    files = records["gate"]["figures"]["files"] if "gate" in records else []
    quantised = [_quantisation(file, rows) for file in files]
    compared = [row for row in rows if row["model"] not in {name.removeprefix("measure-") for name in records}]
    return {"comparisons": compared, "forgetting": _forgetting(models, records), "quantisation": quantised}


def _forgetting(models: Sequence[str], records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bits per byte on held-out text of each domain, before and after; `stages` holds every model in order."""
    heldout = {model: records[f"heldout-{model}"]["figures"] for model in models}
    domains = sorted({domain for figures in heldout.values() for domain in figures})
    lines = []
    for domain in domains:
        stages = {model: figures[domain]["bits_per_byte"] for model, figures in heldout.items() if domain in figures}
        before, *_, after = *stages.values(), list(stages.values())[-1]
        counts = {key: heldout[models[0]][domain][key] for key in ("documents", "bytes")}
        lines.append({"domain": domain, "before": before, "after": after, "stages": stages, **counts})
    return lines


def _quantisation(file: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One quantised file in short: the gate's verdict, its size, its distance from the model, and its accuracy over all questions.

    `p_value` is the smallest of its benchmarks, adjusted by Holm's method over all that the run compares.
    """
    pooled = file["pooled"]
    return {**{key: file[key] for key in ("type", "bytes", "verdict", "kl", "kl_99", "argmax_agreement")},
            "accuracy": pooled and pooled["accuracy"], "difference": pooled and pooled["difference"],
            "p_value": min((row["holm_p"] for row in rows if row["model"] == file["type"]), default=None),
            "benchmarks": file["benchmarks"]}
