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
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..model import TokenStore

PADDING = -1  # the segment of positions that hold nothing


@dataclass(frozen=True)
class Row:
    """tokens, segments (which document, by its place in the order; PADDING beyond the last) and learned (may be a target), each of
    length + 1.
    """

    tokens: NDArray[np.int64]
    segments: NDArray[np.int64]
    learned: NDArray[np.bool_]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which of the `length` inputs have a counted target: the next token is learned and of the same document."""
        return np.asarray(self.learned[1:] & (self.segments[1:] == self.segments[:-1]) & (self.segments[1:] != PADDING))


class Rows(Protocol):
    """A finite sequence of rows."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Row: ...


class StreamRows:
    """Documents end to end, cut every `length` tokens: row r holds tokens [r * length, (r + 1) * length]. The last row may be padded."""

    def __init__(self, store: TokenStore, order: NDArray[np.int64], length: int) -> None:
        self._store, self._order, self._length = store, order, length
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
        return _row(self._store, parts, self._length)


class WholeRows:
    """Documents packed without cutting any: each row takes the next documents in order as long as they fit.

    A document longer than a row keeps its end, where the answer is; `truncated` counts those.
    """

    def __init__(self, store: TokenStore, order: NDArray[np.int64], length: int) -> None:
        self._store, self._order, self._length = store, order, length
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
        return _row(self._store, parts, self._length)


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
    """One optimiser step's rows: inputs, segments and targets [rows, length], counted [rows, length] bool."""

    inputs: NDArray[np.int64]
    segments: NDArray[np.int64]
    targets: NDArray[np.int64]
    counted: NDArray[np.bool_]


def batch(rows: Rows, step: int, size: int, vocab_size: int) -> Batch:
    """Rows [step * size, (step + 1) * size). Beyond the last row lies padding, which counts for nothing.

    Raises Refusal where a token is beyond the vocabulary.
    """
    taken = [rows[number] for number in range(step * size, min((step + 1) * size, len(rows)))]
    empty = Row(np.zeros_like(taken[0].tokens), np.full_like(taken[0].segments, PADDING), np.zeros_like(taken[0].learned))
    taken += [empty] * (size - len(taken))
    tokens = np.stack([row.tokens for row in taken])
    if tokens.min() < 0 or tokens.max() >= vocab_size:
        raise Refusal(f"step {step}: the token store holds token {int(tokens.max())} and the model's vocabulary ends at {vocab_size - 1}; "
                      "tokenise the corpus with this model's tokenizer")
    return Batch(tokens[:, :-1], np.stack([row.segments[:-1] for row in taken]), tokens[:, 1:], np.stack([row.counted for row in taken]))


def open_corpus(folder: Path, length: int) -> StreamRows:
    """The rows of a tokenised corpus: train.bin, train.idx and order.npy. Raises Refusal for a file that is missing or cut short."""
    path = folder / "order.npy"
    try:
        order = np.load(path, allow_pickle=False).astype(np.int64)
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; tokenise the corpus first") from None
    except (ValueError, EOFError) as error:
        raise Refusal(f"{path}: not a whole NumPy file ({error}); tokenise the corpus again") from None
    store = TokenStore.open(folder / "train")
    if order.size and (order.min() < 0 or order.max() >= len(store)):
        raise Refusal(f"{path}: names document {int(order.max())} and train.idx has {len(store)}; tokenise the corpus again")
    return StreamRows(store, order, length)


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


def _row(store: TokenStore, parts: list[tuple[int, int, int]], length: int) -> Row:
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
    return Row(tokens, segments, learned)
