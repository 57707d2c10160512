"""What answers show: which option a text means, how often it is right, and whether two models differ.

`extract` reads an option out of what a model wrote, by the patterns of `wording`; `votes` finds what several branches agree on. `scoring`
goes from answers to scores and comparisons with the tests of `statistics`; `calibration` asks whether a model knows what it knows,
`contaminated` scores apart what was read in training, `whose` tells by a step's record which model answered. Nothing here runs a model.
"""

from .calibration import Calibration, calibrate, softmax
from .contaminated import split_by_contamination
from .extract import read_choice
from .scoring import (
    DECIMALS,
    Comparison,
    Outcome,
    Score,
    Unpaired,
    adjust,
    choose,
    compare,
    compare_benchmarks,
    compare_outcomes,
    in_words,
    read_answers,
    score,
    score_outcomes,
)
from .votes import least_more, self_consistent, settled
from .whose import whose

__all__ = [
    "DECIMALS", "Calibration", "Comparison", "Outcome", "Score", "Unpaired", "adjust", "calibrate", "choose", "compare",
    "compare_benchmarks", "compare_outcomes", "in_words", "least_more", "read_answers", "read_choice", "score", "score_outcomes",
    "self_consistent", "settled", "softmax", "split_by_contamination", "whose",
]
