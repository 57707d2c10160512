"""What a model says in float32: the tokens that its GGUF files will read, and its next-token distribution after each of them.

Written once and held against every file, as llama.cpp's `--kl-divergence-base` is. The network is never held whole: a layer at a time is
read, so that a 70B model needs the memory of one of its layers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal, Silent
from medloom.ledger.files import atomic, write_json

WINDOW = 512  # tokens of a text that are read, at most
_TOKENS, _SCORES = "tokens.json", "logprobs.npy"
_SLICE = 256  # positions whose scores are in memory at once


@dataclass(frozen=True)
class Reference:
    """The model's own reading.

    sequences: token ids, each from the start of a text; sizes: UTF-8 bytes of the text that each sequence's tokens after the first stand
    for; logprobs: natural, [all positions, vocabulary], float32, in the sequences' order, mapped from disk.
    """

    sequences: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    logprobs: NDArray[np.float32]

    @property
    def positions(self) -> int:
        """Tokens of all sequences."""
        return len(self.logprobs)

    @property
    def vocabulary(self) -> int:
        """Tokens that the model tells apart."""
        return int(self.logprobs.shape[1])

    def texts(self) -> Iterator[tuple[slice, tuple[int, ...]]]:
        """Each sequence and where its positions lie among all."""
        start = 0
        for ids in self.sequences:
            yield slice(start, start + len(ids)), ids
            start += len(ids)


def write_reference(model: Path, texts: Iterable[str], positions: int, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Read the first `positions` tokens of `texts` with the model in folder `model` and leave its distributions in folder `out`.

    Each text is read from its start, opened as a training document is, up to the model's context or 512 tokens. Takes 4 bytes a position
    and vocabulary entry on disk. Returns {"positions", "texts", "bits_per_byte"}. Raises Refusal where the texts hold no token.
    """
    import torch

    from medloom.model import ModelConfig, load_model, load_tokenizer, run_by_layer

    model, tokenizer = Path(model), load_tokenizer(Path(model))
    config = ModelConfig.from_folder(model)
    sequences, sizes = _sequences(tokenizer, texts, min(config.max_positions, WINDOW), positions)
    total = sum(map(len, sequences))
    if not total:
        raise Refusal("no text to measure on: give at least one that is not empty")
    rows = torch.zeros((len(sequences), max(map(len, sequences))), dtype=torch.long)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = torch.tensor(sequence)  # what is padded comes after, where no token looks
    inside = torch.arange(rows.shape[1]) < torch.tensor([[len(sequence)] for sequence in sequences])
    with torch.inference_mode(), (progress or Silent()).task("reference", total, "positions") as task:
        hidden, last = run_by_layer(config, lambda part: load_model(model, part=part), rows)
        states = hidden[inside]
        with atomic(out / _SCORES) as temporary:
            scores = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=(total, config.vocab_size))
            for start in range(0, total, _SLICE):
                part = last.logits(states[start : start + _SLICE]).double().log_softmax(-1)
                scores[start : start + len(part)] = part.numpy()
                task.advance(len(part))
            scores.flush()
            del scores
    write_json(out / _TOKENS, {"sequences": sequences, "bytes": sizes})
    found = read_reference(out)
    return {"positions": total, "texts": len(sequences),
            "bits_per_byte": bits_per_byte([of_next(found.logprobs[place], ids) for place, ids in found.texts()], sizes)}


def read_reference(folder: Path) -> Reference:
    """What `write_reference` left in a folder."""
    said = json.loads((folder / _TOKENS).read_text(encoding="utf-8"))
    return Reference(tuple(map(tuple, said["sequences"])), tuple(said["bytes"]), np.load(folder / _SCORES, mmap_mode="r"))


def of_next(logprobs: NDArray[Any], ids: Sequence[int]) -> NDArray[Any]:
    """What was said of each token that came: logprobs [len(ids), vocabulary] at the tokens after the first, [len(ids) - 1]."""
    said: NDArray[Any] = logprobs[np.arange(len(ids) - 1), ids[1:]]
    return said


def bits_per_byte(told: Sequence[NDArray[Any]], sizes: Sequence[int]) -> float | None:
    """-log2 of the probability of every token but the first of each text, by the bytes that they stand for; None where there are none.

    told: natural log-probabilities of those tokens, by text; sizes: as `Reference` has them.
    """
    bits = -math.fsum(float(part.astype(np.float64).sum()) for part in told) / math.log(2)
    return bits / sum(sizes) if sum(sizes) and math.isfinite(bits) else None


def _sequences(tokenizer: Any, texts: Iterable[str], longest: int, positions: int) -> tuple[list[list[int]], list[int]]:
    """Token ids of the texts, each cut, until there are `positions` of them in all, and the bytes that those after the first stand for."""
    sequences: list[list[int]] = []
    sizes: list[int] = []
    for text in texts:
        if positions <= 0:
            break
        ids = tokenizer.encode(text, bos=tokenizer.adds_bos)[: min(longest, positions)]
        if text and ids:
            sequences.append(ids)
            sizes.append(len(tokenizer.decode(ids[1:]).encode()) if len(ids) > 1 else 0)
            positions -= len(ids)
    return sequences, sizes
