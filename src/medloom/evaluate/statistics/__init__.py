"""The statistics of right and wrong answers: one score's uncertainty, two models on the same questions, many comparisons.

Exact or in closed form where that is possible; what draws at random draws from a fixed seed, so that the same answers always give the
same figures.
"""

from __future__ import annotations

from .bootstrap import bootstrap
from .clusters import Clusters, clustered_error, gather
from .flips import sign_flip
from .many import holm
from .margins import margins_differ
from .paired import detectable, mcnemar, paired_difference, tango_score
from .unpaired import shares_differ

__all__ = ["Clusters", "bootstrap", "clustered_error", "detectable", "gather", "holm", "margins_differ", "mcnemar",
           "paired_difference", "shares_differ", "sign_flip", "tango_score"]
