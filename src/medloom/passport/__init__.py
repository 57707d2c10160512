"""The contamination passport: a sampled sketch of the n-grams that a model was trained on, and the test of a benchmark against it.

It ships with the model, so that anyone can test a benchmark of the future without seeing the corpus.
"""

from __future__ import annotations

from .contamination import Contamination, contamination
from .questions import Question, read_questions
from .sketch import (
    EMPTY,
    FILE,
    Sketch,
    as_entries,
    bits_for,
    join_sketches,
    read_sketch,
    sample,
    sampling_for,
    sketch_of,
    write_sketch,
)

__all__ = ["EMPTY", "FILE", "Contamination", "Question", "Sketch", "as_entries", "bits_for", "contamination", "join_sketches",
           "read_questions", "read_sketch", "sample", "sampling_for", "sketch_of", "write_sketch"]
