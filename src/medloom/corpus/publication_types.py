"""The original's score of a paper by what MEDLINE says it is: how many times more than once it is read.

Chen et al. 2023 (arXiv:2311.16079), table 10, the part that rests on publication types and the check tag "Animals"; its other parts
(journal, age of the patients, citations a year) need data that MEDLINE does not hold. The paper found no gain in it; so it is an option.
"""

from __future__ import annotations

from collections.abc import Iterable

SCORES = {
    "Guideline": 1.0, "Practice Guideline": 1.0, "Patient Education Handout": 1.0, "Meta-Analysis": 1.0,
    "Systematic Review": 0.8, "Clinical Trial, Phase IV": 0.8, "Clinical Trial, Phase III": 0.6,
    "Randomized Controlled Trial": 0.5, "Review": 0.5, "Observational Study": 0.5, "Comparative Study": 0.5,
    "Clinical Trial, Phase II": 0.4, "Clinical Study": 0.4, "Clinical Trial, Phase I": 0.2,
    "Editorial": 0.1, "Letter": 0.1, "Comment": 0.1,
}
LEFT_OUT = frozenset({"Observational Study, Veterinary", "Clinical Trial, Veterinary", "Randomized Controlled Trial, Veterinary",
                      "Retracted Publication", "Retraction of Publication", "Retraction Notice", "Preprint", "Animals"})
NEVER = -1.0


def score(categories: Iterable[str]) -> float:
    """The sum over a document's categories, 0 where it has none that counts; NEVER for what the original left out."""
    total = 0.0
    for category in categories:
        if category in LEFT_OUT:
            return NEVER
        total += SCORES.get(category, 0.0)
    return total
