"""Held-out text: what no step is trained on, by domain, and the loss on it while training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..model import TokenStore
from .data import Batch, Rows, StreamRows, batch


def open_heldout(tokens: Path, length: int) -> dict[str, Rows]:
    """The rows of each domain that a tokenised corpus holds out (`heldout/DOMAIN.bin` and `.idx`); none where it holds out nothing.

    Documents lie end to end and are cut every `length` tokens, as those that are trained on. Raises Refusal for a file that is cut short.
    """
    found: dict[str, Rows] = {}
    for index in sorted((tokens / "heldout").glob("*.idx")):
        store = TokenStore.open(index.with_suffix(""))
        rows = StreamRows(store, np.arange(len(store)), length)
        if len(rows):
            found[index.stem] = rows
    return found


def measure(loss_of_batch: Callable[[Batch], float], heldout: Mapping[str, Rows], *, size: int, vocab_size: int) -> dict[str, float]:
    """Nats per counted token of each domain.

    `loss_of_batch` is given `size` rows at a time, the last of them filled up with padding, and returns the cross-entropy in nats summed
    over the counted positions of all of them; ranks that share them out add up before it returns.
    """
    losses = {}
    for domain, rows in heldout.items():
        total, counted = 0.0, 0
        for number in range(-(-len(rows) // size)):
            data = batch(rows, number, size, vocab_size)
            total += loss_of_batch(data)
            counted += int(data.counted.sum())
        losses[domain] = total / max(counted, 1)
    return losses
