"""What is asked: one question, and a benchmark of them. No file formats, no prompts and no models in here."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...ledger.files import sha256_json

if TYPE_CHECKING:
    from ...recipe import Mode, Normalise, Protocol

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # under which options are listed
SCORED: tuple[Mode, ...] = ("top-token", "option-text")  # modes whose answers are log-probabilities
# Digests (see `content_digest`) of whole releases that were read and counted by hand.
RELEASES = {
    "a7e4b6b2081f6ff852e3bdbaa211a8e8dc336a09e47ebb1297efe2b5e23b3ab5": "MedQA, US test, four options (1273)",
    "0edf0e0e0b9e5a33fb955b674c7f1f87f05d0b2ebc39d2ae82f2f07bdaab2036": "MedQA, US test, five options (1273)",
    "b81cac12362a233a9501a58ac3cfd54a20c3f0bde269be8aaed6f94ceeb361e8": "PubMedQA, labelled, test (500)",
    "e1c30e96222595d600e8f544739e1e3df52ef6059fa7c5b89db51e83c1d41a68": "TruthfulQA of 2021, medical categories, MC1 (99)",
    "7d4ee2c9bd07b1e0e9da34147bb92e8ba4a3e15fe362b1ef59f872b646a06ccd": "TruthfulQA of 2021, medical categories, MC2 (99)",
    "41dabf87bf011a2947b5777a85be725347f9fc733d694c208eea44a52c9fe39a": "TruthfulQA of 2025, medical categories, binary (99)",
    "b15977498a5b41212ffbdb25c4358635fafefd6c5fab2cd7e1b08355a10f5db2": "MedMCQA, validation (4183)",
    "ea244a50d8283e399c80362273005baa7c8a71943478682615105a2f3ef99fe2": "MMLU, nine medical subjects, test (1871)",
    "d1c20ba589d4cd5db8ed130531cb9956ab2c82709e1280af501f213e4c25aa31": "MMLU, six medical subjects, test (1089)",
}

# An explanation that opens with the answer: "Ans. B: …", "The correct answer is (b) …", "Option B …".
OPENING = re.compile(r"\W*(?:(?:the )?(?:correct )?(?:ans(?:wer)?|option))?\W*(?:is\b)?\W*([a-z])\b", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    """One question with its options; `answer` is the number, from 0, of the right one.

    `lettered` tells whether the options are listed under letters and answered by one (MedQA), or are themselves the
    answers and not listed (PubMedQA's yes, no, maybe). `context` is what is to be read before the question, `group` a
    category that the benchmark itself reports on, `pmid` the paper that the question was made from. `explanation` may stand in a
    worked shot, never in a test prompt. `cluster` names what several questions share (a passage), so that they are not counted as
    independent. `true` holds all options that are right, where a benchmark has more than one (TruthfulQA's MC2).
    """

    id: str
    question: str
    options: tuple[str, ...]
    answer: int
    lettered: bool = True
    context: str | None = None
    pmid: str | None = None
    group: str | None = None
    explanation: str | None = None
    cluster: str | None = None
    true: tuple[int, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """Test questions, the training questions that shots and finetuning may use, and how they are posed.

    `available` counts the test questions before `limit` was applied, `digest` and `integrity` describe all of them. `kind` is the reader's
    name. The other fields are a recipe's (see recipe.Benchmark), `protocol` too.
    """

    name: str
    items: tuple[Item, ...]
    train: tuple[Item, ...] = ()
    shots: int = 0
    mode: Mode = "top-token"
    available: int = 0
    integrity: dict[str, Any] | None = None
    kind: str = "medqa"
    seeds: tuple[int, ...] = ()
    rotations: bool = False
    normalise: Normalise = "sum"
    branches: int = 10
    temperature: float = 0.7
    tokens: int | None = None
    protocol: Protocol = "medloom"

    @property
    def generates(self) -> bool:
        """Whether answers are texts to be read, and not log-probabilities of the options."""
        return self.mode not in SCORED or self.protocol == "meditron"

    @property
    def reasons(self) -> bool:
        """Whether the model is to think aloud before it answers."""
        return self.mode in ("chain-of-thought", "self-consistency")

    @property
    def chance(self) -> float:
        """Expected accuracy of blind guessing: the mean of one over the number of options."""
        return math.fsum(1 / len(item.options) for item in self.items) / len(self.items)

    @property
    def majority(self) -> float:
        """Accuracy of always giving the option number that is most often right."""
        return max(Counter(item.answer for item in self.items).values()) / len(self.items)


def content_digest(items: tuple[Item, ...]) -> str:
    """SHA-256 over what is asked and what is right, whatever the order and form of the file that held it."""
    content = sorted([item.context or "", item.question, sorted(item.options), item.options[item.answer]] for item in items)
    return sha256_json(content)


def inspect(items: tuple[Item, ...]) -> dict[str, Any]:
    """Counts that show a broken or unusual file, and the release that these questions are known to be, or None.

    Equal options are compared without case and outer space; `ambiguous_gold` counts questions whose right option occurs twice.
    `leaking_explanations` counts explanations that begin with the right option's letter, `majority` names the option number, from 0,
    that is right most often, and its share.
    """
    folded = [[option.strip().casefold() for option in item.options] for item in items]
    digest = content_digest(items)
    ((option, often),) = Counter(item.answer for item in items).most_common(1)
    return {
        "questions": len(items),
        "options": {str(size): count for size, count in sorted(Counter(len(item.options) for item in items).items())},
        "duplicate_questions": len(items) - len({(item.context, item.question) for item in items}),
        "duplicate_options": sum(len(set(options)) < len(options) for options in folded),
        "ambiguous_gold": sum(options.count(options[item.answer]) > 1 for item, options in zip(items, folded, strict=True)),
        "explanations": sum(item.explanation is not None for item in items),
        "leaking_explanations": sum(_leaks(item) for item in items),
        "majority": {"option": option, "share": round(often / len(items), 4)},
        "groups": dict(sorted(Counter(item.group for item in items if item.group).items())),
        "digest": digest,
        "release": RELEASES.get(digest),
    }


def _leaks(item: Item) -> bool:
    found = OPENING.match(item.explanation) if item.explanation else None
    return found is not None and ord(found[1].lower()) - ord("a") == item.answer
