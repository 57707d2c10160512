"""Held-out text: what no step is trained on, by domain, and the loss on it while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..model import TokenStore
from .data import Documents, Rows, StreamRows


def open_heldout(tokens: Path, length: int, documents: Documents = "apart") -> dict[str, Rows]:
    """The rows of each domain that a tokenised corpus holds out (`heldout/DOMAIN.bin` and `.idx`); none where it holds out nothing.

    Documents lie end to end and are cut every `length` tokens, as those that are trained on. Raises Refusal for a file that is cut short.
    """
    found: dict[str, Rows] = {}
    for index in sorted((tokens / "heldout").glob("*.idx")):
        store = TokenStore.open(index.with_suffix(""))
        rows = StreamRows(store, np.arange(len(store)), length, documents)
        if len(rows):
            found[index.stem] = rows
    return found


def measure(loss_of_batch: Callable[[Rows, int], tuple[float, int]], heldout: Mapping[str, Rows], size: int) -> dict[str, float]:
    """Nats per counted token of each domain, its rows taken `size` at a time.

    `loss_of_batch(rows, number)` gives the cross-entropy in nats, summed over the counted positions of rows [number * size,
    (number + 1) * size), and their number; ranks that share them out add up before it returns.
    """
    losses = {}
    for domain, rows in heldout.items():
        sums = [loss_of_batch(rows, number) for number in range(-(-len(rows) // size))]
        losses[domain] = sum(loss for loss, _ in sums) / max(sum(counted for _, counted in sums), 1)
    return losses
