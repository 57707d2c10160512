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

Which model wrote an answer is told to nobody but the operator before the vote.
"""

from __future__ import annotations

from .export import write_csv, write_jsonl
from .generate import Asked, Writer, Written, generate
from .questions import Question, read_questions
from .raters import new_links, standing
from .report import draw_report
from .serving import serve
from .store import Store, create
from .study import AXES, Axis, Candidate, Sampling, Study, make_study

__all__ = ["AXES", "Asked", "Axis", "Candidate", "Question", "Sampling", "Store", "Study", "Writer", "Written", "create", "draw_report",
           "generate", "make_study", "new_links", "read_questions", "serve", "standing", "write_csv", "write_jsonl"]
