"""The card's sections, composed from a lineage and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..notice import NOTICE
from .data import training_data
from .making import base_name, environment, training_procedure
from .prose import Section, cited, said, table
from .results import comparisons, evaluation, final, forgetting, interval, quantisation
from .safety import contamination, truthfulness
from .trail import Trail
from .words import LEVEL

INVENTED = ("**The medicine in this model is invented.** Its drugs, diseases and trials do not exist; it was made to show that and how a "
            "model learns, and knows nothing that could be advice.")
INTENDED = ("Research on how language models learn medicine: reproducing the evaluation below, studying errors, forgetting, calibration "
            "and quantisation, and as a start for further training.")
OUT_OF_SCOPE = ("Diagnosis, triage, treatment, dosing, or any decision about a patient, with or without a clinician in between.",
                "Answering the health questions of the public.",
                "Any product or service, unless it has been aligned with its use and tested for it, clinically where it touches care.",
                "Text passed off as written by a person or by a medical authority.")


@dataclass
class Card:
    """A card before it is written in any form: `lead` says in a sentence what the model is and what was shown."""

    name: str
    notice: str
    warnings: list[str]
    lead: str
    sections: list[Section]
    trail: Trail

    def section(self, key: str) -> Section:
        """The section of that key."""
        return next(section for section in self.sections if section.key == key)


def compose(lineage: Mapping[str, Any]) -> Card:
    """The card of a lineage. Raises Uncited where a section would state a figure that has no key."""
    trail = Trail(lineage)
    recipe = trail.recipe
    name = str((recipe.get("card") or {}).get("model_name") or recipe.get("name") or "model")
    sections = [_details(trail, name), _uses(recipe.get("card") or {}), evaluation(trail), truthfulness(trail), contamination(trail),
                forgetting(trail), quantisation(trail), training_data(trail), training_procedure(trail), environment(trail), _limits(trail)]
    card = Card(name, str(lineage.get("notice") or NOTICE), [INVENTED] if recipe.get("world") else [], _lead(trail, name), sections, trail)
    cited([card.lead, *(line for section in sections for line in (section.title, *section.words, *section.tables))])
    return card


def _made(recipe: Mapping[str, Any]) -> str:
    stages = [words for stage, words in (("pretrain", "continued pretraining"), ("finetune", "finetuning on questions with answers"))
              if recipe.get(stage)]
    return ", then ".join(stages) or "no training"


def _lead(trail: Trail, name: str) -> str:
    """What it is, and in which direction the tests show that it moved."""
    text = f"{said(name)} was made from {said(base_name(trail.recipe))} by {_made(trail.recipe)}."
    rows = [row for _, row in comparisons(trail) if row["model"] == final(trail) and row.get("difference") is not None]
    shown = [row for row in rows if (row["holm_p"] if row.get("holm_p") is not None else row.get("p_value", 1.0)) < LEVEL]
    better, worse = ([row for row in shown if sign * row["difference"] > 0] for sign in (1, -1))
    for way, found in (("better", better), ("worse", worse), ("", [row for row in rows if row not in shown])):
        names = ", ".join(said(row["benchmark"]) for row in found)
        if names:
            text += f" It is shown to be {way} than before on {names}." if way else f" No difference is shown on {names}."
    return text


def _details(trail: Trail, name: str) -> Section:
    recipe, card, base = trail.recipe, trail.recipe.get("card") or {}, trail.recipe.get("base") or {}
    facts = [
        ("Name", name),
        ("Made by", card.get("authors") or "not stated"),
        ("Contact", card.get("contact") or "not stated"),
        ("Made from", base_name(recipe)),
        ("How", _made(recipe)),
        ("Kind", "causal language model of the Llama family; text in, text out"),
        ("Languages", ", ".join((recipe.get("corpus") or {}).get("languages") or ["en"])),
        ("Licence", card.get("licence") or base.get("licence") or "not stated"),
        ("Licence of the base", base.get("licence") or "not stated"),
        ("Made with", "medloom"),
    ]
    return Section("details", "Model details", [*(f"- **{label}:** {said(value)}" for label, value in facts), ""])


def _uses(card: Mapping[str, Any]) -> Section:
    intended = said(card["intended_use"]) if card.get("intended_use") else INTENDED
    return Section("uses", "Uses", ["### Intended", "", intended, "", "### Out of scope", "", *(f"- {use}" for use in OUT_OF_SCOPE), ""])


def _limits(trail: Trail) -> Section:
    lines = ["- Multiple-choice questions measure little of what care needs: a right letter is no safe answer.",
             "- The model knows nothing after its sources were collected and cannot say where a statement comes from."]
    guessing = [f"{row['model']} on {row['benchmark']}" for _, row in comparisons(trail)
                if row.get("chance") is not None and interval(row)[0] <= row["chance"]]
    if guessing:
        lines.append(f"- Not shown to do better than guessing: {said(', '.join(guessing))}.")
    rising = [line["domain"] for line in trail.summary.get("forgetting") or () if line["after"] > line["before"]]
    if rising:
        lines.append(f"- Predicts {said(', '.join(rising))} text worse than the model it was made from.")
    return Section("limits", "Limits", [*lines, ""])


def steps_table(trail: Trail) -> list[str]:
    """The steps of the run, each with the beginnings of its digest and of its code's."""
    rows = [[said(name), *(f"`{said(str(step.get(field) or '')[:12])}`" for field in ("digest", "code"))]
            for name, step in trail.steps.items()]
    return table(["Step", "Digest", "Code"], rows) if rows else []
