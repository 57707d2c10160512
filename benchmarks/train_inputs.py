"""What both sides of training read: model folders of known shapes, rows of drawn tokens, and real abstracts as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.model import ModelConfig, TokenStoreWriter, flops_per_token, load_tokenizer

SMALL = ModelConfig(vocab_size=8192, hidden_size=256, intermediate_size=688, layers=8, heads=8, kv_heads=8, max_positions=2048)
BILLION = ModelConfig(vocab_size=32_000, hidden_size=2048, intermediate_size=5632, layers=22, heads=16, kv_heads=8, max_positions=2048)
LLAMA3_8B = ModelConfig(vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, layers=32, heads=32, kv_heads=8, max_positions=8192,
                        rope_theta=500_000.0, bos_id=128_000, eos_id=128_001)
SPECIAL = 3  # ids below are unknown, beginning and end in Llama 2's vocabulary


@dataclass(frozen=True)
class Abstracts:
    """Real abstracts as tokens, in a drawn order, and what padding whole batches of them to the longest would waste of all positions."""

    documents: list[NDArray[np.int64]]
    padding: float

    @property
    def mean(self) -> float:
        """Tokens of a document."""
        return float(np.mean([len(ids) for ids in self.documents]))


def drawn_rows(folder: Path, count: int, length: int, vocabulary: int) -> tuple[Path, Path]:
    """A token store in training order that makes `count` rows of `length`, and the same rows with their last target as rows.npy.

    Few tokens are frequent, as in language (Zipf's law). One document, so that attention within documents is plain causal attention.
    """
    rng = np.random.default_rng(1)
    tokens = np.minimum(rng.zipf(1.2, count * length + 1) + SPECIAL, vocabulary - 1).astype(np.int64)
    store = write_store(folder / "tokens", [tokens], vocabulary)
    rows = np.stack([tokens[row * length : (row + 1) * length + 1] for row in range(count)])
    np.save(folder / "rows.npy", rows)
    return store, folder / "rows.npy"


def write_store(folder: Path, documents: list[NDArray[np.int64]], vocabulary: int) -> Path:
    """A tokenised corpus as `medloom.train` reads it."""
    folder.mkdir(parents=True)
    with TokenStoreWriter(folder / "train", vocabulary) as store:
        for ids in documents:
            store.add(ids)
    np.save(folder / "order.npy", np.arange(len(documents)))
    return folder


def write_documents(path: Path, documents: list[NDArray[np.int64]]) -> Path:
    """Documents for the peers: tokens end to end, and where each begins and the last ends."""
    np.savez(path, tokens=np.concatenate(documents), offsets=np.cumsum([0, *map(len, documents)]))
    return path


def abstracts(medline: Path, tokenizer: Path, vocabulary: int, batch: int) -> Abstracts:
    """The abstracts of a MEDLINE file by a real tokenizer, opened and closed as it does.

    Rare ids are folded into a small model's vocabulary: the lengths, on which all depends here, stay.
    """
    from medloom.corpus.document import Document, Origin
    from medloom.corpus.readers.medline import read_medline

    found = (getattr(item, "document", item) for item in read_medline(medline, Origin("abstracts", "medical", medline.name), []))
    texts = [item.text for item in found if isinstance(item, Document)]
    encoded = load_tokenizer(tokenizer).encode_documents(texts)
    order = np.random.default_rng(1).permutation(len(encoded))
    documents = [_folded(np.asarray(encoded[place], np.int64), vocabulary) for place in order]
    lengths = np.asarray([len(ids) for ids in documents])
    lengths = lengths[: len(lengths) // batch * batch].reshape(-1, batch)
    return Abstracts(documents, float(1 - lengths.sum() / (batch * lengths.max(1).sum())))


def _folded(ids: NDArray[np.int64], vocabulary: int) -> NDArray[np.int64]:
    return np.where(ids < vocabulary, ids, SPECIAL + ids % (vocabulary - SPECIAL))


def first(documents: list[NDArray[np.int64]], tokens: int) -> list[NDArray[np.int64]]:
    """As many documents as hold exactly `tokens`, the last of them cut."""
    taken: list[NDArray[np.int64]] = []
    for ids in documents:
        taken.append(ids[:tokens])
        tokens -= len(taken[-1])
        if not tokens:
            return taken
    raise ValueError(f"{tokens} tokens are missing")


def flops(config: ModelConfig, length: int, *, embedding: bool = True) -> float:
    """Floating-point operations to train on one token: 6 N + 12 layers width length (Chowdhery et al. 2022, arXiv 2204.02311, appendix B).

    embedding: whether N counts an embedding that is not the head too; a lookup multiplies nothing, and in a network cut to a few
    layers it would count for much.
    """
    lookup = config.vocab_size * config.hidden_size if embedding and not config.tied else 0
    return flops_per_token(config, length) + 6.0 * lookup


def shape(config: ModelConfig) -> dict[str, Any]:
    """The configuration as JSON."""
    return dict(config.__dict__)
