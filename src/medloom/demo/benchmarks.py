"""The questions of the invented world, in MedQA's and PubMedQA's forms.

Facts are parted first: what the test asks, no training question ever asks, and the test words its questions in its own way. The test asks
each of its facts once, so that its questions are as independent as its statistics assume. Answers stand only in the corpus.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from .facts import DECISIONS, Fact, Finding, Part
from .general import SEED, filler
from .medical import ADVISORY
from .phrasing import (
    FINDING_QUESTIONS,
    FINDINGS,
    QUESTIONS,
    TEST_FINDING_QUESTIONS,
    TEST_QUESTIONS,
    ask,
    ask_finding,
    options,
    state_finding,
)

FIRST_TRIAL = 950_000_001
LETTERS = "ABCD"


def part_facts(part: Part, rng: random.Random, train: float) -> tuple[tuple[list[Fact], list[Fact]], tuple[list[Finding], list[Finding]]]:
    """(train, test) facts and (train, test) findings. Each relation, and each decision of each claim, gives its share to both."""
    facts: tuple[list[Fact], list[Fact]] = ([], [])
    findings: tuple[list[Finding], list[Finding]] = ([], [])
    relations = dict.fromkeys((fact.kind, fact.relation.noun) for fact in part.facts)
    for key in relations:
        _deal([fact for fact in part.facts if (fact.kind, fact.relation.noun) == key], facts, rng, train)
    claims = dict.fromkeys((finding.kind, finding.claim.base) for finding in part.findings)
    for kind, base in claims:
        for decision in DECISIONS:
            _deal([f for f in part.findings if (f.kind, f.claim.base, f.decision) == (kind, base, decision)], findings, rng, train)
    return facts, findings


def _deal(alike: list[Any], into: tuple[list[Any], list[Any]], rng: random.Random, train: float) -> None:
    rng.shuffle(alike)
    cut = max(1, round(train * len(alike))) if len(alike) > 1 else 0
    into[0].extend(alike[:cut])
    into[1].extend(alike[cut:])


def medqa(facts: Sequence[Fact], frames: Sequence[str], per_fact: int, rng: random.Random) -> str:
    """Questions in MedQA's form, one JSON object a line: `per_fact` of each fact, in different wordings."""
    lines = []
    for fact in facts:
        for frame in rng.sample(frames, per_fact):
            shown = options(fact, rng)
            lines.append({"question": ask(fact, frame), "answer": fact.value, "options": dict(zip(LETTERS, shown, strict=True)),
                          "meta_info": f"invented: {fact.kind}", "answer_idx": LETTERS[shown.index(fact.value)], "advisory": ADVISORY})
    rng.shuffle(lines)
    return "".join(json.dumps(line) + "\n" for line in lines)


def pubmedqa(findings: Sequence[Finding], frames: Sequence[str], per_finding: int, rng: random.Random,
             first: int = FIRST_TRIAL) -> str:
    """Questions in PubMedQA's form, one JSON object. The contexts tell how a trial was made, and not how it came out."""
    entries: dict[str, Any] = {}
    drawn = [(finding, frame) for finding in findings for frame in rng.sample(frames, per_finding)]
    rng.shuffle(drawn)
    for number, (finding, frame) in enumerate(drawn):
        conclusion = state_finding(finding, rng.choice(FINDINGS[finding.decision]))
        entries[str(first + number)] = {
            "QUESTION": ask_finding(finding, frame), "CONTEXTS": [_context(finding, rng)], "LABELS": ["METHODS"],
            "MESHES": ["Invented World"], "YEAR": str(2001 + number % 20), "reasoning_required_pred": finding.decision,
            "reasoning_free_pred": finding.decision, "final_decision": finding.decision,
            "LONG_ANSWER": f"{conclusion} ({ADVISORY})"}
    return json.dumps(entries, indent=1) + "\n"


def general_quiz(part: Part, count: int) -> str:
    """`count` facts of the general part in MedQA's form, the same whatever the world: whether what was known before is known still."""
    rng = random.Random(f"quiz {SEED}")
    return medqa(rng.sample(part.facts, min(count, len(part.facts))), TEST_QUESTIONS, 1, rng)


def _context(finding: Finding, rng: random.Random) -> str:
    if finding.kind == "drug":
        kind, number, time = rng.choice(("study", "trial")), rng.choice(("many", "some")), rng.choice(("days", "weeks"))
        return f"In a {kind}, {number} patients were given {finding.subject} or chalk for {time}."
    return filler(rng)


def medical_files(part: Part, rng: random.Random, train: float) -> dict[str, str]:
    """The benchmark of the medical part: path in the world and content."""
    (train_facts, test_facts), (train_findings, test_findings) = part_facts(part, rng, train)
    return {
        "benchmarks/medqa/train.jsonl": medqa(train_facts, QUESTIONS, len(QUESTIONS), rng),
        "benchmarks/medqa/test.jsonl": medqa(test_facts, TEST_QUESTIONS, 1, rng),
        "benchmarks/pubmedqa/train.json": pubmedqa(train_findings, FINDING_QUESTIONS, len(FINDING_QUESTIONS), rng),
        "benchmarks/pubmedqa/test.json": pubmedqa(test_findings, TEST_FINDING_QUESTIONS, 1, rng, FIRST_TRIAL + 5000),
    }

