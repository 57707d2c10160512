"""Held-out text in bits per byte: what continued pretraining learned of one domain and forgot of another.

Bytes, not tokens, are the measure, so that models with different tokenizers can be compared.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from ..ledger import Progress, Refusal
from .engines import TorchEngine

GROUP = 64  # windows given to the engine at a time: enough to sort like lengths together, few enough to show progress


def bits_per_byte(engine: TorchEngine, documents: dict[str, Path], characters: int, progress: Progress) -> dict[str, Any]:
    """For each domain's Parquet file (column `text`): {bits_per_byte, bytes, tokens, documents, cut}.

    Of each text the first `characters` are read, so that one book does not outweigh a hundred abstracts; `cut` counts the texts
    that were longer. Each text is opened as the model's documents are, and all its tokens are predicted; bits are -log2 of their
    probability, divided by the text's UTF-8 bytes. A text longer than the context is read in windows of the context that begin
    half a context apart; of every window after the first only the new half counts, so each token counts once, with at least
    half a context before it. Without a beginning-of-sequence token the first token has nothing to be predicted from and is not counted.
    """
    found = {}
    for domain, path in sorted(documents.items()):
        try:
            texts = parquet.read_table(path, columns=["text"])["text"].to_pylist()
        except (OSError, KeyError, ValueError) as error:
            raise Refusal(f"{path}: not a Parquet file with a column `text` ({error}); build the corpus again") from None
        texts = [text for text in texts if text]
        if texts:
            cut = sum(len(text) > characters for text in texts)
            found[domain] = {**_measure(engine, domain, [text[:characters] for text in texts], progress), "cut": cut}
    return found


def windows(length: int, context: int) -> list[tuple[int, int, int]]:
    """For a text of `length` tokens the windows (begin, end, first token that counts); tokens 1 to length - 1 count once each."""
    if length <= context:
        return [(0, length, 1)]
    cut = [(0, context, 1)]
    while cut[-1][1] < length:
        counted = cut[-1][1]
        end = min(counted + context // 2, length)
        cut.append((end - context, end, counted))
    return cut


def _measure(engine: TorchEngine, domain: str, texts: list[str], progress: Progress) -> dict[str, Any]:
    rows, starts, tokens = [], [], 0
    for ids in engine.encode(texts):
        tokens += len(ids) - 1
        for begin, end, counted in windows(len(ids), engine.context):
            rows.append(ids[begin:end])
            starts.append(counted - begin)
    nats = []
    with progress.task(f"bits per byte, {domain}", total=len(rows), unit="windows") as task:
        for start in range(0, len(rows), GROUP):
            nats += engine.token_logprobs(rows[start:start + GROUP], starts[start:start + GROUP])
            task.advance(len(rows[start:start + GROUP]))
    size = sum(len(text.encode()) for text in texts)
    return {"bits_per_byte": -math.fsum(nats) / math.log(2) / size, "bytes": size, "tokens": tokens, "documents": len(texts)}
