"""Who may use the engine now, who waits, and who is turned away: a bounded queue, first come first served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """All slots are taken and so are all places in the queue."""


class Late(Exception):
    """A place in the queue did not become a slot in time."""


class Admission:
    """`slots` requests run, `queue` more wait, each at most `patience` seconds."""

    def __init__(self, slots: int, queue: int, patience: float) -> None:
        self.slots, self.queue, self.patience = slots, queue, patience
        self.waiting = self.running = 0
        self._free = asyncio.Semaphore(slots)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the length of the block. Raises Full at once, or Late after `patience` seconds."""
        if self.running + self.waiting >= self.slots + self.queue:
            raise Full
        self.waiting += 1
        try:
            async with asyncio.timeout(self.patience):
                await self._free.acquire()
        except TimeoutError:
            raise Late from None
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._free.release()
