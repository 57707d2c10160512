"""Strengths of models from who was preferred to whom: the model of Bradley and Terry (1952, Biometrika 39:324).

The odds that i is preferred to j are exp(s_i - s_j). "About the same" counts as half a win for each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from ...numbers import Z95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Game:
    """One vote: `share` of a win for `first` over `second`, 1, 0.5 or 0; `cluster`: votes that are not independent of each other share
    it."""

    first: int
    second: int
    share: float
    cluster: Hashable


@dataclass(frozen=True)
class Strength:
    """A model's log-strength, with nothing as the mean of all models, and its 95 % interval."""

    value: float
    low: float
    high: float


def strengths(games: Sequence[Game], models: int) -> list[Strength] | None:
    """The likeliest strengths. Intervals are by clusters: the sandwich of Liang and Zeger (1986, Biometrika 73:13), for a few clusters
    widened by C / (C - 1), and never narrower than independent votes would have them: a few clusters may happen to say the same, or
    only that two models are alike, and the sandwich is then as good as empty.

    None where the votes have no finite answer: some models never lost to, or were never compared with, the others (Ford 1957); and where
    there is one cluster only.
    """
    if not games or not _finite(games, models) or len({game.cluster for game in games}) < 2:
        return None
    design = np.zeros((len(games), models))
    for row, game in zip(design, games, strict=True):
        row[game.first], row[game.second] = 1.0, -1.0
    shares = np.array([game.share for game in games])

    def loss(s: Floats) -> tuple[float, Floats]:
        odds = design @ s
        return float((np.logaddexp(0, odds) - shares * odds).sum()), design.T @ (expit(odds) - shares)

    found = minimize(loss, np.zeros(models), jac=True, method="BFGS", options={"gtol": 1e-9 * len(games)})
    at = found.x - found.x.mean()
    chances = expit(design @ at)
    information = design.T @ (design * (chances * (1 - chances))[:, None])
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(game.cluster for game in games))}
    scores = np.zeros((len(places), models))
    for row, residual, game in zip(design, shares - chances, games, strict=True):
        scores[places[game.cluster]] += row * residual
    inverse = np.linalg.pinv(information)  # of sums to nothing, as the strengths are
    by_clusters = ((scores @ inverse) ** 2).sum(0) * len(places) / (len(places) - 1)
    half = Z95 * np.sqrt(np.maximum(by_clusters, np.diag(inverse)))
    return [Strength(float(value), float(value - h), float(value + h)) for value, h in zip(at, half, strict=True)]


def _finite(games: Sequence[Game], models: int) -> bool:
    """Whether from every model a chain of wins, or of halves of one, leads to every other."""
    beaten = np.zeros((models, models))
    for game in games:
        beaten[game.first, game.second] += game.share
        beaten[game.second, game.first] += 1 - game.share
    parts, _ = connected_components(beaten > 0, directed=True, connection="strong")
    return bool(parts == 1)
