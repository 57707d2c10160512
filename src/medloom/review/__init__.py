"""Blind review: people who know compare models' answers side by side, without knowing who wrote what.

    study       the study as its file says it
    questions   read from JSON lines or CSV
    pairs       who judges what, on which side, in which order
    store       the SQLite database
    generate    the models' answers
    raters      links, and how far each rater has come
    votes       what a rater is shown and says
    web         the pages and their requests
    serving     the web on a socket
    export      votes as CSV and JSON lines
    report      what the votes show: win rates, strengths, agreement, axes

Which model wrote an answer is told to nobody but the operator before the vote. The report is imported when it is first asked for: it brings
scipy, and no other part has a use for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .export import write_csv, write_jsonl
from .generate import Asked, Writer, Written, generate
from .questions import Question, read_questions
from .raters import new_links, standing
from .serving import serve
from .store import Store, create
from .study import AXES, Axis, Candidate, Sampling, Study, make_study

if TYPE_CHECKING:
    from .report import draw_report

__all__ = ["AXES", "Asked", "Axis", "Candidate", "Question", "Sampling", "Store", "Study", "Writer", "Written", "create", "draw_report",
           "generate", "make_study", "new_links", "read_questions", "serve", "standing", "write_csv", "write_jsonl"]


def __getattr__(name: str) -> Any:
    if name != "draw_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .report import draw_report

    return draw_report
