"""The model card, written from a lineage and from nothing else: the same lineage gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..ledger import Progress, Silent
from ..ledger.files import write_json, write_text
from ..notice import NOTICE
from .data import training_data
from .front import front_matter
from .making import base_name, environment, training_procedure
from .results import comparisons, evaluation, forgetting, interval, quantisation, table
from .trail import Trail

README, MACHINE, PICTURE = "README.md", "card.json", "accuracy.png"


def write_card(lineage: Mapping[str, Any], out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write README.md (Hugging Face form), card.json (every figure with its key) and, where models are compared, accuracy.png.

    `lineage` holds the recipe, the notice, the records of the steps and the summary. Every number of the text is looked up in it by
    a key, and the key stands in the provenance table under the footnote beside the number. Returns how many figures it holds.
    """
    with (progress or Silent()).task("model card", 3, "files") as task:
        text, trail = _compose(lineage)
        rows = [row for _, row in comparisons(trail)]
        if rows:
            from .picture import draw

            draw(rows, out / PICTURE)
        task.advance()
        write_text(out / README, text)
        task.advance()
        write_json(out / MACHINE, _machine(trail, lineage))
        task.advance()
    return {"figures": len(trail.figures), "footnotes": max((figure.mark for figure in trail.figures), default=0)}


def check_card(out: Path, lineage: Mapping[str, Any]) -> list[str]:
    """What in the card at `out` differs from the card that the lineage gives: a line each, empty where every digit holds."""
    faults: list[str] = []
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        write_card(lineage, fresh)
        for name in (README, MACHINE):
            if not (out / name).is_file():
                faults.append(f"{out / name}: is missing")
                continue
            old, new = ((folder / name).read_text(encoding="utf-8").splitlines() for folder in (out, fresh))
            for line in unified_diff(new, old, lineterm="", n=0):
                if line.startswith(("+", "-")) and not line.startswith(("+++", "---")):
                    faults.append(f"{name}: {'says' if line[0] == '+' else 'should say'}: {line[1:].strip()}")
    return faults


def _compose(lineage: Mapping[str, Any]) -> tuple[str, Trail]:
    trail = Trail(lineage)
    recipe = trail.recipe
    card = recipe.get("card") or {}
    name = card.get("model_name") or recipe.get("name") or "model"
    body: list[str] = [f"# {name}", "", "## Advisory notice", "", f"> **{lineage.get('notice') or NOTICE}**", ""]
    if recipe.get("world"):
        body += ["> **The medicine in this model is invented.** Its drugs, diseases and trials do not exist; it was made to show that "
                 "and how a model learns, and knows nothing that could be advice.", ""]
    body += ["## Model details", "", *_details(trail, name)]
    body += ["## Uses", "", *_uses(card)]
    body += ["## Training data", "", *training_data(trail)]
    body += ["## Training procedure", "", *training_procedure(trail)]
    shown = evaluation(trail)
    rows = [row for _, row in comparisons(trail)]
    picture = [f"![Accuracy of each model on each benchmark, with 95 % intervals and the line of chance]({PICTURE})", ""] if rows else []
    body += ["## Evaluation", "", *shown, *picture]
    body += ["## What was forgotten", "", *forgetting(trail)]
    body += ["## Quantised files", "", *quantisation(trail)]
    energy, carbon = environment(trail)
    body += ["## Environmental impact", "", *energy]
    body += ["## Limits", "", *_limits(trail, rows)]
    body += ["## Provenance", "", *_provenance(trail)]
    return "\n".join([*front_matter(trail, name, carbon), *body]).rstrip() + "\n", trail


def _details(trail: Trail, name: str) -> list[str]:
    recipe, card, base = trail.recipe, trail.recipe.get("card") or {}, trail.recipe.get("base") or {}
    stages = [words for stage, words in (("pretrain", "continued pretraining"), ("finetune", "finetuning on questions with answers"))
              if recipe.get(stage)]
    facts = [
        ("Name", name),
        ("Made by", card.get("authors") or "not stated"),
        ("Contact", card.get("contact") or "not stated"),
        ("Made from", base_name(recipe)),
        ("How", ", then ".join(stages) or "no training"),
        ("Kind", "causal language model of the Llama family; text in, text out"),
        ("Languages", ", ".join((recipe.get("corpus") or {}).get("languages") or ["en"])),
        ("Licence", card.get("licence") or base.get("licence") or "not stated"),
        ("Licence of the base", base.get("licence") or "not stated"),
        ("Made with", "medloom"),
    ]
    return [*(f"- **{label}:** {value}" for label, value in facts), ""]


def _uses(card: Mapping[str, Any]) -> list[str]:
    intended = card.get("intended_use") or (
        "Research on how language models learn medicine: reproducing the evaluation below, studying errors, forgetting, calibration and "
        "quantisation, and as a start for further training.")
    return ["### Intended", "", intended, "", "### Out of scope", "",
            "- Diagnosis, triage, treatment, dosing, or any decision about a patient, with or without a clinician in between.",
            "- Answering the health questions of the public.",
            "- Any product or service, unless it has been aligned with its use and tested for it, clinically where it touches care.",
            "- Text passed off as written by a person or by a medical authority.", ""]


def _limits(trail: Trail, rows: list[dict[str, Any]]) -> list[str]:
    lines = ["- Multiple-choice questions measure little of what care needs: a right letter is no safe answer.",
             "- No clinician reviewed this model's answers in this run.",
             "- Bias against groups of patients, harmful advice and made-up facts were not measured beyond what the tables above show.",
             "- The model knows nothing after its sources were collected and cannot say where a statement comes from."]
    guessing = [f"{row['model']} on {row['benchmark']}" for row in rows
                if row.get("chance") is not None and interval(row)[0] <= row["chance"]]
    if guessing:
        lines.append(f"- Not shown to do better than guessing: {', '.join(guessing)}.")
    rising = [line["domain"] for line in trail.summary.get("forgetting") or () if line["after"] > line["before"]]
    if rising:
        lines.append(f"- Predicts {', '.join(rising)} text worse than the model it was made from.")
    return [*lines, ""]


def _provenance(trail: Trail) -> list[str]:
    lines = ["Every figure above was looked up in the run's ledger. A key is `step:path`, the path leading through the step's record.", ""]
    lines += table(["Footnote", "Figure", "As printed", "Ledger key"],
                   [[f"[^{figure.mark}]", figure.name, figure.printed, f"`{figure.key}`"] for figure in trail.figures])
    steps = [[name, *(f"`{str(step.get(field) or '')[:12]}`" for field in ("digest", "code"))] for name, step in trail.steps.items()]
    return [*lines, "### Steps", "", *table(["Step", "Digest", "Code"], steps)] if steps else lines


def _machine(trail: Trail, lineage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": (trail.recipe.get("card") or {}).get("model_name") or trail.recipe.get("name"),
        "notice": lineage.get("notice") or NOTICE,
        "figures": [{"footnote": f.mark, "name": f.name, "printed": f.printed, "value": f.value, "key": f.key} for f in trail.figures],
        "steps": {name: step.get("digest") for name, step in trail.steps.items()},
    }
