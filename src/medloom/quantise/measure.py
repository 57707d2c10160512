"""How far a GGUF file stands from the model it was made of: both read the same tokens, and their next-token distributions are compared.

KL divergence (Kullback and Leibler 1951) of the GGUF's distribution from the model's, in nats: what llama.cpp's own
`--kl-divergence` reports, and a finer gauge than perplexity, which hides an export with queries and keys in wrong order.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal, Silent
from medloom.model.gguf_file import open_gguf

from .llama import Decoder

WINDOW = 512  # tokens read at once: both distributions of all of them are held, 8 bytes a vocabulary entry


def measure(model: Path, gguf: Path, texts: Sequence[str], positions: int, *, cache: str = "f32", threads: int | None = None,
            progress: Progress | None = None) -> dict[str, Any]:
    """Hold the GGUF file against the model folder it was made of, in float32, on the first `positions` positions of `texts`.

    Each text is read from its start, opened as a training document is, up to the model's context or 512 tokens; llama.cpp keeps keys and
    values in `cache` ("f32" or "f16"). Returns {"kl": mean nats per position, "kl_99": its 99th percentile,
    "argmax_agreement": share of positions with the same likeliest token, "positions", "max_difference": greatest absolute
    difference of a log-probability}. Raises Refusal where the texts hold no token, or the file's vocabulary is another.
    """
    import torch

    from medloom.model import load_model, load_tokenizer

    model, gguf = Path(model), Path(gguf)
    open_gguf(gguf)  # before the model is read, which takes longer
    tokenizer = load_tokenizer(model)
    network = load_model(model)
    network.eval()
    sequences = _sequences(tokenizer, texts, network.config.max_positions, positions)
    total = sum(map(len, sequences))
    if not total:
        raise Refusal("no text to measure on: give at least one that is not empty")
    divergences, agreed, furthest = [], 0, 0.0
    longest = max(map(len, sequences))
    threads = threads or max(1, (os.cpu_count() or 2) - 1)
    bar = (progress or Silent()).task(f"measure {gguf.name}", total, "positions")
    with Decoder(gguf, context=longest, threads=threads, cache=cache) as decoder, torch.inference_mode(), bar as task:
        if decoder.vocabulary != network.config.vocab_size:
            raise Refusal(f"{gguf}: {decoder.vocabulary} tokens, but {model} has {network.config.vocab_size}; it was made of another model")
        for sequence in sequences:
            ours = _log_probabilities(network.logits(network(torch.tensor([sequence])))[0].float().numpy())
            theirs = _log_probabilities(decoder.logits(sequence))
            divergences.append((np.exp(ours) * (ours - theirs)).sum(-1))
            agreed += int((ours.argmax(-1) == theirs.argmax(-1)).sum())
            furthest = max(furthest, float(np.abs(ours - theirs).max()))
            task.advance(len(sequence))
    divergence = np.concatenate(divergences)
    return {"kl": float(divergence.mean()), "kl_99": float(np.quantile(divergence, 0.99)), "argmax_agreement": agreed / total,
            "positions": total, "max_difference": furthest}


def _sequences(tokenizer: Any, texts: Sequence[str], context: int, positions: int) -> list[list[int]]:
    """Token ids of the texts, each cut to the context and the window, until there are `positions` of them in all."""
    sequences: list[list[int]] = []
    for text in texts:
        if positions <= 0:
            break
        ids = tokenizer.encode(text, bos=tokenizer.adds_bos)[: min(context, positions, WINDOW)]
        if text and ids:
            sequences.append(ids)
            positions -= len(ids)
    return sequences


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    result: NDArray[np.float64] = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return result
