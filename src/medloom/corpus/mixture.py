"""The order of training: which document follows which, so that every source has its share of the tokens at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal
from medloom.passport.ngrams import BASE, Numbers
from medloom.recipe import Recipe, Source

from .order import drawn

Counts = NDArray[np.int64]
WHOLE = ""  # the stream of all sources that enter whole


@dataclass(frozen=True, slots=True)
class Stock:
    """What is there to draw from: per document its key (`order.name_keys`), the number of its source, its length in tokens, and how many
    times it is read in a pass over its stream, 0 for never."""

    keys: Numbers
    sources: NDArray[np.int16]
    lengths: Counts
    copies: NDArray[np.float32]


def mix(stock: Stock, sources: Sequence[Source], *, tokens: int | None, epochs: float, seed: int) -> tuple[Counts, dict[str, Any]]:
    """The numbers of documents in training order, repeats included, and the account of asked and realised shares.

    Sources without a measure enter together and whole, `repeat` times an epoch; one with a share is drawn until it has that share of all
    tokens, one with a budget until it has that many; one whose share is 0 is left out. The total is `tokens` where given,
    else what the budgets and `epochs` passes over the whole sources make of 1 minus the shares (`epochs` of everything, where
    every source has a share). No document comes again before all of its stream came as often as it may in a pass; each pass has a new order
    by hash. A stream ends with the document that brings it nearest to its due. Raises Refusal where a source that is asked for has nothing.
    """
    weights = stock.copies.astype(np.float64) * np.array([source.repeat for source in sources])[stock.sources]
    deck = _Deck(stock, weights, seed)
    in_stock = _sums(stock.sources, stock.lengths, len(sources))
    in_pass = _sums(stock.sources, stock.lengths * np.ceil(weights).astype(np.int64), len(sources))
    for number, source in enumerate(sources):
        if (source.share or source.tokens) and not in_pass[number]:
            raise Refusal(f"corpus.sources.{source.name}: is asked for and has no document left to give; "
                          "see the corpus's report.md for why, or take the source out")
    whole = [number for number, source in enumerate(sources) if source.share is None and source.tokens is None]
    if whole and not in_pass[whole].sum():
        names = ", ".join(sources[number].name for number in whole)
        raise Refusal(f"corpus: no document is left of {names}; see report.md for the reasons")
    total, rest = total_tokens(sources, deck.tokens_of(epochs, len(sources)), tokens)
    due = {number: source.tokens or (source.share or 0.0) * total for number, source in enumerate(sources) if number not in whole}
    streams = [deck.draw(np.flatnonzero(stock.sources == number), tokens_due, sources[number].name)
               for number, tokens_due in sorted(due.items(), key=lambda pair: sources[pair[0]].name) if tokens_due]
    if whole and rest > 0.5:
        streams.append(deck.draw(np.flatnonzero(np.isin(stock.sources, whole)), rest, WHOLE))
    order = _interleave(streams, stock.lengths)

    read = _sums(stock.sources[order], stock.lengths[order], len(sources))
    realised = int(read.sum())
    account = {
        "tokens_asked": round(total), "tokens": realised, "documents": len(order),
        "sources": [{"name": source.name, "share_asked": source.share, "tokens_asked": source.tokens, "repeat": source.repeat,
                     "share": read[number] / realised if realised else 0.0, "tokens": int(read[number]),
                     "tokens_in_stock": int(in_stock[number]), "passes": read[number] / in_stock[number] if in_stock[number] else 0.0}
                    for number, source in enumerate(sources)],
    }
    return order, account


def total_tokens(sources: Sequence[Source], in_epochs: Sequence[float], tokens: int | None) -> tuple[float, float]:
    """(all, whole): how many tokens are read in all, and how many of them from the sources that enter whole.

    `in_epochs` counts the tokens that the epochs asked for make of each source. Raises Refusal where the budgets leave no room.
    """
    budget = sum(source.tokens or 0 for source in sources)
    shares = sum(source.share or 0.0 for source in sources)
    whole = sum(held for source, held in zip(sources, in_epochs, strict=True) if source.share is None and source.tokens is None)
    if tokens is not None:
        total = float(tokens)
    elif whole or budget:
        total = (budget + whole) / (1 - shares)
    else:
        total = sum(in_epochs)
    rest = total - budget - shares * total
    if rest < -0.5:
        raise Refusal(f"corpus: the sources' budgets come to {budget:,} tokens, more than there is room for in {round(total):,}; "
                      "lower them")
    return total, rest


def _sums(groups: NDArray[np.int16], values: Counts, count: int) -> Counts:
    """Exact sums of values by group; the float64 of bincount holds whole numbers up to 2^53."""
    return np.bincount(groups, values, count).astype(np.int64)


class _Deck:
    """Documents to draw, each with the times it comes in a pass; of a broken number the rest is owed from pass to pass, begun by hash."""

    def __init__(self, stock: Stock, weights: NDArray[np.float64], seed: int) -> None:
        self._stock, self._weights, self._seed = stock, weights, seed
        self._begun = drawn(stock.keys, seed, "copies") / np.float64(2**64)

    def _copies(self, places: Counts, turn: int) -> Counts:
        owed = [np.floor(self._weights[places] * passed + self._begun[places]) for passed in (turn, turn + 1)]
        return (owed[1] - owed[0]).astype(np.int64)

    def tokens_of(self, epochs: float, sources: int) -> list[float]:
        """Tokens that so many passes hold of each source."""
        everything = np.arange(len(self._stock.keys))
        total = np.zeros(sources)
        for turn in range(math.ceil(epochs)):
            sums = _sums(self._stock.sources, self._stock.lengths * self._copies(everything, turn), sources)
            total += sums * min(1.0, epochs - turn)
        return total.tolist()

    def draw(self, places: Counts, due: float, stream: str) -> Counts:
        """Documents of a stream, pass after pass, until they hold `due` tokens as nearly as whole documents can; one at least."""
        passes: list[Counts] = []
        held, turn = 0, 0
        while held < due:
            order = self._one_pass(places, stream, turn)
            turn += 1
            reached = held + np.cumsum(self._stock.lengths[order])
            if len(order) and reached[-1] > due:
                count = int(np.searchsorted(reached, due))
                before = int(reached[count - 1]) if count else held
                if reached[count] - due <= due - before or (count == 0 and not passes):
                    count += 1
                passes.append(order[:count])
                break
            passes.append(order)
            held = int(reached[-1]) if len(order) else held
        return np.concatenate(passes).astype(np.int64)

    def _one_pass(self, places: Counts, stream: str, turn: int) -> Counts:
        """Every document as often as it comes in this pass, in an order by hash."""
        copies = self._copies(places, turn)
        repeated = np.repeat(places, copies)
        which = np.arange(len(repeated)) - np.repeat(np.cumsum(copies) - copies, copies)
        keys = drawn(self._stock.keys[repeated] + which.astype(np.uint64) * np.uint64(BASE), self._seed, stream, turn)
        return np.asarray(repeated[np.argsort(keys, kind="stable")])


def _interleave(streams: Sequence[Counts], lengths: Counts) -> Counts:
    """Streams merged so that each advances evenly: a document's place is the share of its stream's tokens before its middle."""
    places, numbers = [], []
    for stream in streams:
        ends = np.cumsum(lengths[stream])
        places.append((ends - lengths[stream] / 2) / ends[-1])
        numbers.append(stream)
    return np.concatenate(numbers)[np.argsort(np.concatenate(places), kind="stable")]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A source before it is here: documents and tokens to train on and held out, and what of its tokens a run reads."""

    name: str
    train_documents: int
    valid_documents: int
    train_tokens: int
    valid_tokens: int
    read_tokens: int


def forecast(recipe: Recipe) -> list[Forecast]:
    """What the mixture will be if every source holds what the recipe says it `holds`. Raises Refusal where one does not say."""
    settings = recipe.corpus
    if settings is None:
        raise Refusal("the recipe has no [corpus] to forecast")
    tokens, epochs = (recipe.pretrain.tokens, recipe.pretrain.epochs) if recipe.pretrain else (None, 1.0)
    silent = [source.name for source in settings.sources if source.holds is None]
    if silent:
        raise Refusal(f"corpus.sources.{silent[0]}: does not say what it holds; add holds = {{ documents = …, tokens = … }}, "
                      "or build the corpus and look at its report")
    held_out = [settings.validation if source.validation is None else source.validation for source in settings.sources]
    trained = [round(source.holds.tokens * (1 - share)) for source, share in zip(settings.sources, held_out, strict=True) if source.holds]
    passes = [epochs * source.repeat * held for source, held in zip(settings.sources, trained, strict=True)]
    whole = [source.share is None and source.tokens is None for source in settings.sources]
    total, rest = total_tokens(settings.sources, passes, tokens)
    of_whole = sum(held for held, enters in zip(passes, whole, strict=True) if enters)
    found = []
    for source, share, train, in_pass, enters in zip(settings.sources, held_out, trained, passes, whole, strict=True):
        assert source.holds is not None
        read = rest * in_pass / of_whole if enters else source.tokens or (source.share or 0.0) * total
        valid = round(source.holds.documents * share)
        found.append(Forecast(source.name, source.holds.documents - valid, valid, train, source.holds.tokens - train, round(read)))
    return found
