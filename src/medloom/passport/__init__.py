"""The contamination passport: a sampled sketch of the n-grams that a model was trained on, and the test of a benchmark against it.

It ships with the model, so that anyone can test a benchmark of the future without seeing the corpus.
"""

from __future__ import annotations

from .contamination import Contamination, contamination
from .questions import Question, read_questions
from .sketch import FILE, Sketch, bits_for, extend_sketch, read_sketch, sample, sampling_for, write_sketch

__all__ = ["FILE", "Contamination", "Question", "Sketch", "bits_for", "contamination", "extend_sketch", "read_questions", "read_sketch",
           "sample", "sampling_for", "write_sketch"]
