"""The parts of the report in their order, and its sentences, which page and Markdown share."""

from __future__ import annotations

from collections import Counter

from .gather import Gathered, words
from .tables import number

SECTIONS = {
    "scores": "What each model answers rightly", "differences": "What has changed, on the same questions",
    "calibration": "Whether confidence means what it says", "subjects": "By subject", "risk": "Answering only when sure",
    "forgetting": "What was forgotten", "letters": "Which options are chosen", "askings": "How far the asking itself moves the result",
    "contamination": "Questions read in training", "integrity": "What happened to the questions", "published": "Published beside ours",
}


def headline(gathered: Gathered) -> str:
    """The evaluation in a sentence or two."""
    questions = sum(gathered.of(asked)[0].score.n for asked in gathered.benchmarks)
    told = (f"{number(len(gathered.models), 'model')} and {number(len(gathered.benchmarks), 'benchmark')} with "
            f"{number(questions, 'question')} in all.")
    counts = Counter(words(row) for row in gathered.comparisons)
    if counts:
        listed = [f"{counts[word]} {word}" for word in ("better", "worse", "not shown to differ") if counts[word]]
        told += (f" Of {number(len(gathered.comparisons), 'paired comparison')}, corrected for their number, "
                 f"{', '.join(listed[:-1]) + ' and ' if len(listed) > 1 else ''}{listed[-1]}.")
    return told


def unpublished(gathered: Gathered) -> str:
    """Why no published figure stands beside ours."""
    return (f"None of this run's benchmarks ({', '.join(asked.name for asked in gathered.benchmarks)}) asks the questions that the "
            "Meditron paper reports on, so no published figure stands beside ours.")
