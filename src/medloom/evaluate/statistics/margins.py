"""Whether options are chosen as often as they are right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def margins_differ(choices: Sequence[int], golds: Sequence[int]) -> float | None:
    """The chi-square p-value that each option is chosen as often as it is right; None where there is nothing to tell them apart.

    Choice and right answer belong to the same question, so this is the paired form of the chi-square comparison of two histograms
    (Stuart 1955, Biometrika 42:412; Maxwell 1970, Br J Psychiatry 116:651); with two options it is McNemar's without correction.
    """
    from scipy.stats import chi2

    size = max([*choices, *golds], default=-1) + 1
    table = np.zeros((size, size))
    np.add.at(table, (np.asarray(choices, int), np.asarray(golds, int)), 1)
    away = table.sum(axis=1) - table.sum(axis=0)
    spread = np.diag(table.sum(axis=1) + table.sum(axis=0)) - table - table.T
    degrees = int(np.linalg.matrix_rank(spread)) if size else 0
    if degrees == 0:
        return None
    return float(chi2.sf(away @ np.linalg.pinv(spread, hermitian=True) @ away, degrees))
