"""What stands in the rows of an embedding or a head that the folder it comes from does not have: new tokens, and padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

SPREAD = 0.1  # standard deviation of new rows about the mean, as a share of that of the old ones
BLOCK = 4096  # old rows read at a time


def new_rows(old: Callable[[int, int], Tensor], count: int, first: int, last: int, seed: int) -> Tensor:
    """Rows [first, last) of a table that has `count` rows, of which `old(begin, end)` gives some: [last - first, width], float32.

    Each is the mean of the old rows and a little normal noise with their covariance. A head's row that is the mean bounds the
    probability that a new token takes: exp of a mean score is no more than the mean of exp, so the token gets at most the average
    token's share, whatever the hidden state, and what the model knew is left as it was. Rows drawn about zero do not: where scores are
    negative, theirs of about 0 win. Padding rows must be as quiet, so they are drawn alike. Rule and argument: Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models", https://www.cs.columbia.edu/~johnhew/vocab-expansion.html; there
    the noise is as wide as the old rows, here SPREAD of it, which tells the new tokens apart and keeps the bound.

    Noise of covariance X'X / n about the mean is g'X / sqrt(n) for a standard normal g, so X is read once and no covariance is formed.
    g follows from the seed and the row's number alone: whatever rank asks for a row gets the same.
    """
    noise = torch.from_numpy(np.stack([np.random.default_rng((seed, row)).standard_normal(count) for row in range(first, last)]))
    total, drawn = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for begin in range(0, count, BLOCK):
        block = old(begin, min(begin + BLOCK, count)).double()
        total = total + block.sum(0)
        drawn = drawn + noise[:, begin:begin + BLOCK] @ block
    mean = total / count
    rows: Tensor = mean + SPREAD * (drawn - noise.sum(1, keepdim=True) * mean) / count**0.5
    return rows.float()
