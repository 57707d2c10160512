"""One request's answers, from the queue to the last token."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from ..abstention import Decision
from ..admission import Full, Late
from ..engines import Ask, Broken, Busy, Piece, Refused, Starting, Turn, Unable
from ..models import Model
from ..templates import Trimmed
from .answers import ApiError, Reply, sse
from .job import Outlet
from .metrics import Metrics
from .schema import StreamOptions

DONE = sse("[DONE]")


def full() -> ApiError:
    """What is said where there is neither a slot nor a place in the queue."""
    return ApiError(429, "the server is busy and its queue is full; try again in a moment", retry=1)


@asynccontextmanager
async def slot_of(model: Model, metrics: Metrics, tell: Callable[[int], Awaitable[None]] | None = None) -> AsyncIterator[None]:
    """Hold one of a model's slots; whatever comes in the way becomes the ApiError that tells it to the client."""
    starting = ApiError(503, "the engine is starting; try again in a moment", retry=1)
    if not model.engine.ready:
        raise starting
    came = time.monotonic()
    try:
        async with model.admission.slot(tell):
            began = time.monotonic()
            metrics.queued.labels(model.name).observe(began - came)
            if not model.engine.ready:
                raise starting
            try:
                yield
            finally:
                metrics.took.labels(model.name).observe(time.monotonic() - began)
    except Full:
        raise full() from None
    except Late:
        raise ApiError(503, "no slot became free in time; try again later", retry=5) from None
    except Starting:
        raise starting from None
    except Busy as busy:
        raise ApiError(429, "the engine is busy; try again in a moment", retry=busy.seconds) from None
    except Broken as broken:
        raise ApiError(502, str(broken), retry=1) from None
    except Refused as refused:
        raise ApiError(400, refused.message, param=refused.field, code=refused.code) from None
    except Unable as unable:
        raise ApiError(400, str(unable), code="not_supported") from None


class Answering:
    """The answers to `asks`, one after another in one slot, as one reply.

    turns: the conversation of which they are answers, None where they go on from a text; counts: when a stream tells tokens; places:
    it says first how many requests are served before it.
    """

    def __init__(self, model: Model, asks: Sequence[Ask], metrics: Metrics, *, turns: Sequence[Turn] | None, counts: StreamOptions,
                 places: bool) -> None:
        self._model, self._asks, self._metrics = model, asks, metrics
        self._turns, self._counts, self._places = turns, counts, places
        self._trims = turns is not None and model.template.trim
        self._reply = Reply(model.name, model.fingerprint, chat=turns is not None)

    async def whole(self, outlet: Outlet) -> None:
        """All of it in one body."""
        async with slot_of(self._model, self._metrics):
            decision, said = await self._decided()
            pieces = [said or await self._model.engine.whole(ask) for ask in self._asks]
        self._count(pieces)
        if self._trims:
            pieces = [Trimmed()(piece) for piece in pieces]
        await outlet.json(self._reply.whole(pieces, [_extra(decision)] * len(pieces)))

    async def stream(self, outlet: Outlet) -> None:
        """As it is written."""
        async def tell(place: int) -> None:
            await outlet.event(f": queue {place}\n\n".encode())

        last: list[Piece] = []
        data = b""
        async with slot_of(self._model, self._metrics, tell if self._places else None):
            began: float | None = time.monotonic()
            decision, said = await self._decided()
            for index, ask in enumerate(self._asks):
                trimmed = Trimmed() if self._trims else None
                written = self._model.engine.stream(ask) if said is None else _alone(said)
                async with aclosing(written) as batches:  # closed at once where the client leaves
                    async for pieces in batches:
                        if began is not None:
                            self._metrics.first.labels(self._model.name).observe(time.monotonic() - began)
                            began = None
                        data = self._reply.chunks(index, pieces if trimmed is None else list(map(trimmed, pieces)), _extra(decision),
                                                  last if self._counts.continuous_usage_stats else None)
                        if pieces[-1].reason:
                            last.append(pieces[-1])
                        if len(last) == len(self._asks):
                            break  # the slot is free before the client has its last word
                        if data:
                            await outlet.event(data)
        self._count(last)
        await outlet.event(data + (self._reply.counts(last) if self._counts.include_usage else b"") + DONE, last=True)

    def _count(self, pieces: Sequence[Piece]) -> None:
        self._metrics.read.labels(self._model.name).inc(sum(piece.read for piece in pieces))
        self._metrics.written.labels(self._model.name).inc(sum(piece.written for piece in pieces))

    async def _decided(self) -> tuple[Decision | None, Piece | None]:
        """What is said in place of what the engine would write, where the model is calibrated for the question."""
        found = None if self._turns is None else await self._model.decide(self._turns)
        if found is None:
            return None, None
        if found[0].abstained:
            self._metrics.abstained.labels(self._model.name).inc()
        return found


async def _alone(piece: Piece) -> AsyncGenerator[list[Piece], None]:
    yield [piece]


def _extra(decision: Decision | None) -> dict[str, Any]:
    return {} if decision is None else {"abstention": decision.figures()}
