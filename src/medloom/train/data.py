"""Rows of tokens in one global order: a pure function of files and settings, with no state to save.

A row has `length` + 1 tokens, the last of which is only a target. Row r is the same whoever asks for it and whenever, so a
run resumes at any step, and any number of ranks may each take its slice. Nothing here shuffles: the order comes from
`order.npy` (corpus) or from hashes (finetuning).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..model import TokenStore

PADDING = -1  # the segment of positions that hold nothing
SCANNED = 1 << 20  # tokens looked at together

Documents = Literal["apart", "together"]


@dataclass(frozen=True)
class Row:
    """tokens, learned (may be a target) and segments (which document, by its place in the order; PADDING beyond the last), each of
    length + 1. `segments` is None where documents are together: the row is then one text. `filled` tokens come before the padding.
    """

    tokens: NDArray[np.int64]
    segments: NDArray[np.int64] | None
    learned: NDArray[np.bool_]
    filled: int

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which of the `length` inputs have a counted target: the next token is learned and, of documents apart, of the same document."""
        counted = self.learned[1:]
        return counted if self.segments is None else np.asarray(counted & (self.segments[1:] == self.segments[:-1]))

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where each of the `length` inputs stands in its document, or in the row where documents are together; a piece counts from 0.

        Rotary positions are relative, so attention within a document is the same wherever it begins. But small angles are the more exact
        ones, and a model that is used on one document at a time is so trained on the very positions that it will see.
        """
        places = np.arange(len(self.tokens) - 1)
        if self.segments is None:
            return places
        begins = np.flatnonzero(np.diff(self.segments[:-1], prepend=self.segments[0] - 1))
        return np.asarray(places - np.repeat(begins, np.diff(begins, append=len(places))))


class Rows(Protocol):
    """A finite sequence of rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Row: ...


class StreamRows:
    """Documents end to end, cut every `length` tokens: row r holds tokens [r * length, (r + 1) * length]. The last row may be padded.

    Memory: 8 bytes for each place of the order and 8 for each document.
    """

    def __init__(self, store: TokenStore, order: NDArray[np.int64], length: int, documents: Documents = "apart") -> None:
        self._store, self._order, self._length, self._documents = store, order, length, documents
        self._ends = np.cumsum(store.lengths[order], dtype=np.int64)
        self.tokens = int(self._ends[-1]) if len(order) else 0

    def __len__(self) -> int:
        return max(0, -(-(self.tokens - 1) // self._length))

    def __getitem__(self, number: int) -> Row:
        start = number * self._length
        stop = min(start + self._length + 1, self.tokens)
        parts: list[tuple[int, int, int]] = []
        place = int(np.searchsorted(self._ends, start, side="right"))
        while start < stop:
            document = int(self._order[place])
            begins = int(self._ends[place - 1]) if place else 0
            until = min(stop, int(self._ends[place]))
            offset = int(self._store.offsets[document]) - begins
            parts.append((place, start + offset, until + offset))
            start, place = until, place + 1
        return _row(self._store, parts, self._length, self._documents)


class WholeRows:
    """Documents packed without cutting any: each row takes the next documents in order as long as they fit.

    A document longer than a row keeps its end, where the answer is; `truncated` counts those.
    """

    def __init__(self, store: TokenStore, order: NDArray[np.int64], length: int, documents: Documents = "apart") -> None:
        self._store, self._order, self._length, self._documents = store, order, length, documents
        self._firsts = [0]
        room = length + 1
        for place, size in enumerate(np.minimum(store.lengths[order], length + 1).tolist()):
            if size > room:
                self._firsts.append(place)
                room = length + 1
            room -= size
        self._firsts.append(len(order))
        self.truncated = int((store.lengths > length + 1).sum())

    def __len__(self) -> int:
        return len(self._firsts) - 1

    def __getitem__(self, number: int) -> Row:
        parts = []
        for place in range(self._firsts[number], self._firsts[number + 1]):
            start, stop = (int(at) for at in self._store.offsets[self._order[place] : self._order[place] + 2])
            parts.append((place, max(start, stop - self._length - 1), stop))
        return _row(self._store, parts, self._length, self._documents)


class ChosenRows:
    """Some rows of others, in a given order; segments need no care, for a row never looks into another."""

    def __init__(self, chosen: Sequence[tuple[Rows, int]]) -> None:
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, number: int) -> Row:
        rows, which = self._chosen[number]
        return rows[which]


@dataclass(frozen=True)
class Batch:
    """One optimiser step's rows: inputs, positions, targets and segments [rows, length], counted [rows, length] bool.

    `segments` is None where documents are together; `tokens` counts the inputs that are no padding.
    """

    inputs: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64] | None
    targets: NDArray[np.int64]
    counted: NDArray[np.bool_]
    tokens: int


def batch(rows: Rows, step: int, size: int, vocab_size: int, rank: int = 0, ranks: int = 1) -> Batch:
    """Rows [step * size, (step + 1) * size), of which a rank takes its share: what a step reads is the same for any number of ranks.

    Beyond the last row lies padding, which counts for nothing. Raises Refusal where a token is beyond the vocabulary, or the ranks
    cannot share the rows evenly.
    """
    if size % ranks:
        raise Refusal(f"batch = {size} rows cannot be shared evenly by {ranks} ranks; make batch a multiple of {ranks}")
    share = size // ranks
    first = step * size + rank * share
    taken = [rows[number] for number in range(first, min(first + share, len(rows)))]
    like = taken[0] if taken else rows[0]
    empty = Row(np.zeros_like(like.tokens), None if like.segments is None else np.full_like(like.segments, PADDING),
                np.zeros_like(like.learned), 0)
    taken += [empty] * (share - len(taken))
    tokens = np.stack([row.tokens for row in taken])
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        outside = int(tokens[(tokens < 0) | (tokens >= vocab_size)][0])
        raise Refusal(f"step {step}: the token store holds token {outside} and the model's vocabulary ends at {vocab_size - 1}; "
                      "tokenise the corpus with this model's tokenizer")
    segments = [row.segments[:-1] for row in taken if row.segments is not None]
    return Batch(tokens[:, :-1], np.stack([row.positions for row in taken]), np.stack(segments) if segments else None, tokens[:, 1:],
                 np.stack([row.counted for row in taken]), sum(min(row.filled, tokens.shape[1] - 1) for row in taken))


def open_corpus(folder: Path, length: int, documents: Documents = "apart", vocab_size: int | None = None) -> StreamRows:
    """The rows of a tokenised corpus: train.bin, train.idx and order.npy.

    With `vocab_size` every token is looked at once, as fast as the disk reads, so that none beyond it is met on the way.
    Raises Refusal for a file that is missing or cut short, an order of documents that are not there, and such a token.
    """
    path = folder / "order.npy"
    try:
        order = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; tokenise the corpus first") from None
    except (ValueError, EOFError) as error:
        raise Refusal(f"{path}: not a whole NumPy file ({error}); tokenise the corpus again") from None
    if order.ndim != 1 or not np.issubdtype(order.dtype, np.integer):
        raise Refusal(f"{path}: an array {list(order.shape)} of {order.dtype} where a list of document numbers belongs; "
                      "tokenise the corpus again")
    store = TokenStore.open(folder / "train")
    unknown = order[(order < 0) | (order >= len(store))]
    if unknown.size:
        raise Refusal(f"{path}: names document {int(unknown[0])} and train.idx has {len(store)}; tokenise the corpus again")
    if vocab_size is not None:
        check_tokens(store, vocab_size, folder / "train.bin")
    return StreamRows(store, order.astype(np.int64, copy=False), length, documents)


def check_tokens(store: TokenStore, vocab_size: int, name: Path) -> None:
    """Raises Refusal where a token is beyond the vocabulary, naming its document. Goes through the whole store, some GB/s from memory."""
    for start in range(0, len(store.tokens), SCANNED):
        block = store.tokens[start : start + SCANNED]
        if block.min() < 0 or block.max() >= vocab_size:
            place = int(np.flatnonzero((block < 0) | (block >= vocab_size))[0])
            document = int(np.searchsorted(store.offsets, start + place, side="right")) - 1
            raise Refusal(f"{name}: document {document} holds token {int(block[place])} and the model's vocabulary ends at "
                          f"{vocab_size - 1}; tokenise the corpus with this model's tokenizer")


def hashed(seed: int, *names: Any) -> int:
    """A number of 64 bits that stands for these names under a seed; sorting by it shuffles, the same way everywhere."""
    text = "\x1f".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def in_epochs(identifiers: Sequence[Any], total: int, seed: int) -> NDArray[np.int64]:
    """The places of `total` identifiers: each epoch all of them, in a new hash order."""
    places: list[int] = []
    while identifiers and len(places) < total:
        keys = [hashed(seed, len(places) // len(identifiers), identifier) for identifier in identifiers]
        places += sorted(range(len(keys)), key=keys.__getitem__)
    return np.asarray(places[:total], np.int64)


def interleaved(main: Rows, other: Rows, share: float, seed: int) -> ChosenRows:
    """All rows of `main` in order, with rows of `other` spread evenly among them until these are `share` of all.

    Which rows of `other`: in hash order, none twice before all were used.
    """
    wanted = round(share / (1 - share) * len(main))
    picks = in_epochs(range(len(other)), wanted, seed)
    places = [((number + 0.5) / max(len(main), 1), 0, number) for number in range(len(main))]
    places += [((k + 0.5) / wanted, 1, int(number)) for k, number in enumerate(picks)]
    return ChosenRows([((main, other)[which], number) for _, which, number in sorted(places)])


def _row(store: TokenStore, parts: list[tuple[int, int, int]], length: int, documents: Documents) -> Row:
    """A row of (segment, start, stop) pieces of a store, padded to length + 1."""
    tokens = np.zeros(length + 1, np.int64)
    segments = np.full(length + 1, PADDING, np.int64)
    learned = np.zeros(length + 1, np.bool_)
    place = 0
    for segment, start, stop in parts:
        here = slice(place, place + stop - start)
        tokens[here] = store.tokens[start:stop]
        segments[here] = segment
        learned[here] = True if store.mask is None else store.mask[start:stop] != 0
        place += stop - start
    return Row(tokens, segments if documents == "apart" else None, learned, place)
