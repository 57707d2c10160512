"""The Applied Model Card of the Coalition for Health AI, v0.2, as XML: what its schema asks for, and "not stated" where nobody said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lxml import etree

from .compose import OUT_OF_SCOPE, Card
from .making import base_name
from .prose import plain
from .results import bounds, comparisons, final

NAMESPACE = "https://mc.chai.org/v0.2/schema.xsd"
UNSTATED, UNMEASURED = "Not stated.", "Not measured in this run."
Tree = Mapping[str, Any]


def applied_card(card: Card) -> bytes:
    """The card as UTF-8 XML. Results are JSON in text, as the schema has them, each with its ledger key."""
    stated = card.trail.recipe.get("card") or {}
    finished = max((str(step["finished"])[:10] for step in card.trail.steps.values() if step.get("finished")), default=UNSTATED)
    digest = str((list(card.trail.steps.values()) or [{}])[-1].get("digest") or UNSTATED)[:12]
    tree: Tree = {
        "BasicInfo": {"ModelName": card.name, "ModelDeveloper": stated.get("authors") or UNSTATED,
                      "DeveloperContact": stated.get("contact") or UNSTATED},
        "ReleaseInfo": {"ReleaseStage": "Research only.", "ReleaseDate": finished, "ReleaseVersion": digest,
                        "GlobalAvailability": UNSTATED, "RegulatoryApproval": "None: not a medical device."},
        "ModelSummary": {"Summary": f"{plain(card.lead, card.trail.figures)} {' '.join(_bare(card.warnings))}".strip(),
                         "Keywords": [("Keyword", word) for word in ("medicine", "language model", "research")]},
        "UsesAndDirections": {"IntendedUseAndWorkflow": _words(card, "uses").partition("Out of scope")[0].removeprefix("Intended ").strip(),
                              "PrimaryIntendedUsers": "Researchers of language models.",
                              "HowToUse": "By text, for research alone. Read the notice first: " + card.notice,
                              "TargetedPatientPopulation": "None: not for use with patients.",
                              "CautionedOutOfScopeSettings": " ".join(OUT_OF_SCOPE)},
        "Warnings": {"KnownRisksAndLimitations": f"{_words(card, 'limits')} {_words(card, 'forgetting')}",
                     "KnownBiasesOrEthicalConsiderations": _words(card, "risk"),
                     "ClinicalRiskLevel": "Not assessed; not for clinical use."},
        "TrustIngredients": {
            "AISystemFacts": {
                "OutcomesAndOutputs": "Text that goes on from the text it is given.", "ModelType": "Causal language model, Llama family.",
                "FoundationModels": base_name(card.trail.recipe), "InputDataSource": "Text that its user writes.",
                "OutputAndInputDataTypes": "Text in, text out.", "DevelopmentDataCharacterization": _words(card, "data"),
                "BiasMitigationApproaches": "None in this run.", "OngoingMaintenance": UNSTATED,
                "Transparency": "Every figure has its key in the run's ledger; see card.json. " + _words(card, "contamination")},
            "TransparencyInformation": {"FundingSource": UNSTATED, "StakeholdersConsulted": UNSTATED}},
        "KeyMetrics": {"UsefulnessUsabilityEfficacy": _efficacy(card),
                       "FairnessEquity": _unmeasured("That no group of patients is served worse."),
                       "SafetyReliability": _reliability(card)},
        "Resources": {"PeerReviewedPublications": UNSTATED, "PatientConsentOrDisclosure": "No patient's data is known to have been used "
                      "beyond what the stated sources hold."},
        "Bibliography": UNSTATED,
    }
    root = etree.Element(f"{{{NAMESPACE}}}AppliedModelCard", nsmap={None: NAMESPACE})
    _grow(root, list(tree.items()))
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return written


def _grow(parent: Any, members: Sequence[tuple[str, Any]]) -> None:
    for name, value in members:
        element = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}")
        if isinstance(value, str):
            element.text = value
        else:
            _grow(element, list(value.items()) if isinstance(value, Mapping) else value)


def _efficacy(card: Card) -> Tree:
    results = []
    for place, row in comparisons(card.trail):
        if row["model"] == final(card.trail):
            low, high = bounds(row, place)
            results += [_result(card, f"Accuracy on {row['benchmark']}", f"{place}/accuracy", low, high),
                        _result(card, f"Difference to {row['base']} on {row['benchmark']}", f"{place}/difference", f"{place}/low",
                                f"{place}/high")]
    return _metric("That questions of medicine are answered rightly more often than before training.", results, _words(card, "results"),
                   "Multiple choice, answered by the model alone.",
                   "The benchmarks' own test questions.", "Paired tests against the model before training, on the same questions.")


def _reliability(card: Card) -> Tree:
    model, results = final(card.trail), []
    for _, row in comparisons(card.trail):
        if row["model"] == model:
            results.append(_result(card, f"Expected calibration error on {row['benchmark']}",
                                   f"evaluate-{model}-{row['benchmark']}:figures/calibration/ece"))
    return _metric("That confidence means what it says.", results, _words(card, "risk"), "Calibration of the probabilities of the options.",
                   "The benchmarks' own test questions.",
                   "Confidence held against accuracy, answer by answer. Harm in free text was not tested.")


def _unmeasured(goal: str) -> Tree:
    return _metric(goal, [], UNMEASURED, "None.", "None.", "None.")


def _metric(goal: str, results: Sequence[tuple[str, Tree] | None], meaning: str, kind: str, data: str, process: str) -> Tree:
    known = [result for result in results if result is not None]
    nothing = [("MetricResult", {"Label": UNMEASURED, "ValueJson": "null"})]
    return {"MetricGoal": goal, "Results": known or nothing, "Interpretation": meaning, "TestType": kind,
            "TestingDataDescription": data, "ValidationProcessAndJustification": process}


def _result(card: Card, label: str, key: str, low: str | None = None, high: str | None = None) -> tuple[str, Tree] | None:
    value = card.trail.find(key)
    if value is None:
        return None
    ends = {name: card.trail.find(end) for name, end in (("low", low), ("high", high)) if end is not None}
    return "MetricResult", {"Label": label, "ValueJson": json.dumps({"value": value, **ends, "key": key})}


def _words(card: Card, key: str) -> str:
    """A section's words on one line, without the marks of lists and headings."""
    lines = (plain(line, card.trail.figures).removeprefix("- ").removeprefix("### ") for line in card.section(key).words)
    return " ".join(line for line in lines if line) or UNSTATED


def _bare(lines: Sequence[str]) -> list[str]:
    return [line.replace("**", "") for line in lines]
