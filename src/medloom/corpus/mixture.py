"""The order of training: which document follows which, so that every source has its share of the tokens at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal

from .split import order_keys

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stock:
    """What is there to draw from: per document its name (unlike any other), its source and its length in tokens."""

    names: Sequence[str]
    sources: Sequence[str]
    lengths: Numbers


def mix(stock: Stock, shares: Mapping[str, float | None], *, tokens: int | None, epochs: float,
        seed: int) -> tuple[Numbers, dict[str, Any]]:
    """The numbers of documents in training order, repeats included, and the account of asked and realised shares.

    Sources without a share enter together and whole, once an epoch; a source with one is drawn until it has that share of the tokens,
    and one whose share is 0 is left out.
    The total is `tokens` where given, else `epochs` times the tokens of the whole sources, over 1 minus the shares (of everything,
    where every source has a share). No document comes again before all of its stream did; each pass has a new order by hash.
    A stream ends with the document that brings it nearest to its due. Raises Refusal where a source with a share has nothing.
    """
    of_source = np.array(stock.sources, dtype=object)
    stock_tokens = {name: int(stock.lengths[of_source == name].sum()) for name in shares}
    shared = {name: share for name, share in shares.items() if share}
    for name in shared:
        if not stock_tokens[name]:
            raise Refusal(f"corpus.sources.{name}: has a share of {shared[name]:g} and no document left to give; "
                          "see the corpus's report.md for why, or take the source out")
    whole = [name for name, share in shares.items() if share is None]
    whole_tokens = sum(stock_tokens[name] for name in whole)
    rest = max(0.0, 1.0 - sum(shared.values())) if whole else 0.0
    if whole and not whole_tokens:
        raise Refusal(f"corpus: no document is left of {', '.join(whole)}; see report.md for the reasons")
    once = whole_tokens / rest if rest else sum(stock_tokens.values())
    total = epochs * once if tokens is None else float(tokens)

    streams = [_draw(np.flatnonzero(of_source == name), stock, share * total, seed, name) for name, share in sorted(shared.items())]
    if rest:
        streams.append(_draw(np.flatnonzero(np.isin(of_source, whole)), stock, rest * total, seed, ""))
    order = _interleave(streams, stock.lengths)

    drawn = {name: int(stock.lengths[order[of_source[order] == name]].sum()) for name in shares}
    realised = sum(drawn.values())
    account = {
        "tokens_asked": round(total), "tokens": realised, "documents": len(order),
        "sources": [{"name": name, "share_asked": share, "share": drawn[name] / realised if realised else 0.0, "tokens": drawn[name],
                     "tokens_in_stock": stock_tokens[name], "passes": drawn[name] / stock_tokens[name] if stock_tokens[name] else 0.0}
                    for name, share in shares.items()],
    }
    return order, account


def _draw(places: Numbers, stock: Stock, due: float, seed: int, stream: str) -> Numbers:
    """Documents of a stream, pass after pass, until they hold `due` tokens as nearly as whole documents can; one at least."""
    drawn: list[Numbers] = []
    held, turn = 0, 0
    size = int(stock.lengths[places].sum())
    names = [stock.names[place] for place in places]
    while held < due:
        order = places[np.argsort(order_keys(names, seed, stream, turn), kind="stable")]
        turn += 1
        if held + size > due:
            reached = held + np.cumsum(stock.lengths[order])
            count = int(np.searchsorted(reached, due))
            before = int(reached[count - 1]) if count else held
            if reached[count] - due <= due - before or (count == 0 and not drawn):
                count += 1
            drawn.append(order[:count])
            break
        drawn.append(order)
        held += size
    return np.concatenate(drawn).astype(np.int64)


def _interleave(streams: Sequence[Numbers], lengths: Numbers) -> Numbers:
    """Streams merged so that each advances evenly: a document's place is the share of its stream's tokens before its middle."""
    places, numbers = [], []
    for stream in streams:
        ends = np.cumsum(lengths[stream])
        places.append((ends - lengths[stream] / 2) / ends[-1])
        numbers.append(stream)
    return np.concatenate(numbers)[np.argsort(np.concatenate(places), kind="stable")]
