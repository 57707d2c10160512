"""How far a GGUF file stands from the model it was made of: both read the same tokens, and their next-token distributions are compared.

KL divergence (Kullback and Leibler 1951) of the GGUF's distribution from the model's, in nats: what llama.cpp's own
`--kl-divergence` reports, and a finer gauge than perplexity, which hides an export with queries and keys in wrong order.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal, Silent
from medloom.model.gguf_file import open_gguf

from .llama import Decoder
from .reference import Reference, bits_per_byte, of_next

GENERATED, REPEATS = 16, 3  # tokens that are timed one by one, and how often; the median counts


def measure(reference: Reference, gguf: Path, *, cache: str = "f32", threads: int | None = None, progress: Progress | None = None
            ) -> dict[str, Any]:
    """Hold the GGUF file against the model's own reading, on all of its positions; llama.cpp keeps keys and values in `cache`.

    Returns {"kl": mean nats per position, "kl_low", "kl_high": its 95 % interval, None for less than two texts, "kl_99": 99th percentile,
    "argmax_agreement": share of positions with the same likeliest token, "bits_per_byte" of the file, "max_difference": greatest
    absolute difference of a log-probability, "positions", "texts", "broken": positions at which the file's scores are no numbers, which
    all else leaves out and is None where there is no other, "read_tokens_per_second", "write_tokens_per_second", "threads"}.
    The rates are of this moment on this machine. Raises Refusal where the file's vocabulary is another.
    """
    gguf = Path(gguf)
    open_gguf(gguf)  # a clear word about a damaged file, which llama.cpp would not give
    threads = threads or max(1, (os.cpu_count() or 2) - 1)
    longest = max(map(len, reference.sequences))
    divergence, agrees, furthest = (np.full(reference.positions, np.nan) for _ in range(3))
    told, seconds = [], 0.0
    bar = (progress or Silent()).task(f"measure {gguf.name}", reference.positions, "positions")
    with Decoder(gguf, context=longest, threads=threads, cache=cache) as decoder, bar as task, np.errstate(all="ignore"):
        if decoder.vocabulary != reference.vocabulary:
            raise Refusal(f"{gguf}: {decoder.vocabulary} tokens, but the model has {reference.vocabulary}; it was made of another model")
        for rows, sequence in reference.texts():
            started = time.perf_counter()
            logits = decoder.logits(sequence)
            seconds += time.perf_counter() - started
            ours, theirs = reference.logprobs[rows].astype(np.float64), _log_probabilities(logits)
            divergence[rows] = (np.exp(ours) * (ours - theirs)).sum(-1)
            agrees[rows] = ours.argmax(-1) == theirs.argmax(-1)
            furthest[rows] = np.abs(ours - theirs).max(-1)
            told.append(of_next(theirs, sequence))
            task.advance(len(sequence))
        writing = _writing_rate(decoder, reference.sequences)
    sound = np.isfinite(divergence)
    counts = {"positions": reference.positions, "texts": len(reference.sequences), "broken": int((~sound).sum()), "threads": threads,
              "read_tokens_per_second": reference.positions / max(seconds, 1e-9), "write_tokens_per_second": writing}
    if not sound.any():
        return dict.fromkeys(("kl", "kl_low", "kl_high", "kl_99", "argmax_agreement", "bits_per_byte", "max_difference")) | counts
    low, high = interval([divergence[rows][sound[rows]] for rows, _ in reference.texts()])
    return {"kl": float(divergence[sound].mean()), "kl_low": low, "kl_high": high, "kl_99": float(np.quantile(divergence[sound], 0.99)),
            "argmax_agreement": float(agrees[sound].mean()), "bits_per_byte": bits_per_byte(told, reference.sizes),
            "max_difference": float(furthest[sound].max())} | counts


def interval(texts: Sequence[NDArray[np.float64]]) -> tuple[float | None, float | None]:
    """The 95 % interval of the mean over all positions of `texts`, whose positions hang together and whose wholes do not.

    A ratio of sums with the error of clusters and Student's t (Cochran 1977, Sampling Techniques, 6.3); (None, None) below two texts.
    """
    from scipy.stats import t

    filled = [text for text in texts if len(text)]
    count = len(filled)
    if count < 2:
        return None, None
    sums, sizes = np.array([text.sum() for text in filled]), np.array([len(text) for text in filled])
    mean = sums.sum() / sizes.sum()
    error = math.sqrt(count / (count - 1) * float(((sums - mean * sizes) ** 2).sum())) / sizes.sum()
    reach = float(t.ppf(0.975, count - 1)) * error
    return float(mean - reach), float(mean + reach)


def _writing_rate(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> float | None:
    """Tokens a second when they come one by one, as in an answer; None where no sequence is long enough to tell."""
    sequence = max(sequences, key=len)[: 2 * GENERATED]
    if len(sequence) < GENERATED + 1:
        return None
    rates = []
    for _ in range(REPEATS):
        begun = len(sequence) - GENERATED
        decoder.logits(sequence[:begun])
        started = time.perf_counter()
        for place in range(begun, len(sequence)):
            decoder.logits(sequence[place : place + 1], after=place)
        rates.append(GENERATED / max(time.perf_counter() - started, 1e-9))
    return median(rates)


def _log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    scores = logits.astype(np.float64)
    scores -= scores.max(-1, keepdims=True)
    result: NDArray[np.float64] = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    return result
