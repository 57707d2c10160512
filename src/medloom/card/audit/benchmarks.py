"""Benchmarks with published sizes: how a label reads, how many questions, what guessing gives, whose questions they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A benchmark. `sizes` are the numbers of questions that its published splits have, the usual one first; `chance` is the share that
    guessing gets right; `questions` is the set they are from, parts after a slash."""

    pattern: str
    sizes: tuple[int, ...]
    chance: float
    questions: str

    @property
    def n(self) -> int:
        """The questions that are usually asked."""
        return self.sizes[0]


# Most particular first.
_BENCHMARKS = (
    Known(r"mcmle|med-?qa.*(?:chin|mainland|\bzh\b|\bcn\b)", (3426,), 0.20, "medqa-mainland"),
    Known(r"(?<!pub)(?<!pubmed)med-?qa.*\b4|medqa4", (1273,), 0.25, "medqa"),
    Known(r"(?<!pub)\bmed-?qa|^usmle\b", (1273,), 0.20, "medqa"),
    Known(r"medmcqa", (4183, 6150, 2816), 0.25, "medmcqa"),
    Known(r"pubmed-?qa", (500, 1000), 1 / 3, "pubmedqa"),
    Known(r"mmlu[ -]*pro\b", (12032,), 0.10, "mmlu-pro"),
    Known(r"mmlu[ _-]*(?:\(?med|clinical topics)", (1871, 1089), 0.25, "mmlu"),
    Known(r"^mmlu(?:\b|$)(?![ _:(-]*[a-z])", (14042,), 0.25, "mmlu"),
    Known(r"arc[ _-]*\(?(?:c\b|challenge)", (1172,), 0.25, "arc-challenge"),
    Known(r"arc[ _-]*\(?(?:e\b|easy)", (2376,), 0.25, "arc-easy"),
    Known(r"hellaswag", (10042,), 0.25, "hellaswag"),
    Known(r"winogrande", (1267,), 0.50, "winogrande"),
    Known(r"\bboolq\b", (3270,), 0.50, "boolq"),
    Known(r"\bpiqa\b", (1838,), 0.50, "piqa"),
    Known(r"open-?book-?qa|\bobqa\b", (500,), 0.25, "openbookqa"),
    Known(r"commonsense-?qa|\bcsqa\b", (1221,), 0.20, "commonsenseqa"),
    Known(r"gsm-?8k", (1319,), 0.0, "gsm8k"),
)
# Test questions of Hendrycks et al. 2021 (arXiv:2009.03300), counted from the released files.
_SUBJECTS = {
    r"ana(?:tomy)?": 135, r"(?:clinical (?:knowledge|kg)|ckg)": 265, r"(?:(?:college|c\.?) ?biology|cbio)": 144,
    r"(?:(?:college|c\.?) ?medicine|cmed)": 173, r"(?:(?:medical|med\.?) genetics|medgen)": 100,
    r"(?:pro(?:f(?:essional)?)?\.? medicine|promed)": 272, r"virology": 166, r"high school biology": 310,
    r"human aging": 223,
}
_MMLU = tuple(Known(rf"^(?:mmlu[ :(-]*)?{pattern}\)?$", (n,), 0.25, f"mmlu/{pattern}") for pattern, n in _SUBJECTS.items())
# Single-answer multiple choice over all options (MC1), counted from the released files of Lin et al. 2022 (arXiv:2109.07958).
_TRUTHFULQA = (
    Known(r"^health$", (55,), 0.220, "truthfulqa/health"),
    Known(r"^nutrition$", (16,), 0.224, "truthfulqa/nutrition"),
    Known(r"^psychology$", (19,), 0.200, "truthfulqa/psychology"),
    Known(r"^science$", (9,), 0.158, "truthfulqa/science"),
)


def benchmarks(labels: Sequence[str], text: str) -> dict[str, Known]:
    """The benchmarks among the labels of one table. Subjects of MMLU and categories of TruthfulQA bear everyday names: they count only
    where the text speaks of the whole and two or more of them stand together, or where they name it themselves."""
    found = {label: known for label in labels if (known := _first(_BENCHMARKS, label)) is not None}
    for family, whole in ((_MMLU, "mmlu"), (_TRUTHFULQA, "truthfulqa")):
        parts = {label: known for label in labels if label not in found and (known := _first(family, label)) is not None}
        if len(parts) >= 2 and whole in text.lower():
            found |= parts
        found |= {label: known for label, known in parts.items() if label.lower().startswith(whole)}
    return found


def named(sentence: str) -> list[str]:
    """The sets of questions that a sentence names."""
    words = re.sub(r"[_()]", " ", sentence.lower())
    found = [known.questions for known in _BENCHMARKS if re.search(known.pattern.replace("^", r"\b"), words)]
    return list(dict.fromkeys(found))


def _first(family: Sequence[Known], label: str) -> Known | None:
    plain = re.sub(r"[\s_]+", " ", label.lower()).strip()
    return next((known for known in family if re.search(known.pattern, plain)), None)
