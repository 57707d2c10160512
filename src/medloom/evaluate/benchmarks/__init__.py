"""What is asked: the questions of each benchmark, read from whatever file holds them.

`benchmark` says what a question and a benchmark are, `reading` goes from a recipe's entry to one; every benchmark has its reader, a file of
its name, and all of them get their rows from `rows`. `vignettes` finds the questions that hang together. No prompts, models or scores.
"""

from .benchmark import LETTERS, SCORED, Benchmark, Item
from .reading import read_benchmark, write_questions

__all__ = ["LETTERS", "SCORED", "Benchmark", "Item", "read_benchmark", "write_questions"]
