"""Who may use an engine now, who waits, and who is turned away: a bounded queue, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

LOOK = 0.2  # seconds between two looks at one's place in the queue


class Full(Exception):
    """All slots are taken and so are all places in the queue."""


class Late(Exception):
    """A place in the queue did not become a slot in time."""


class Admission:
    """`slots` requests run, `queue` more wait, each at most `patience` seconds."""

    def __init__(self, slots: int, queue: int, patience: float) -> None:
        self.slots, self.queue, self.patience = slots, queue, patience
        self.running = 0
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def full(self) -> bool:
        """Whether there is neither a slot nor a place in the queue."""
        return self.running >= self.slots and len(self._line) >= self.queue

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._line)

    @asynccontextmanager
    async def slot(self, tell: Callable[[int], Awaitable[None]] | None = None) -> AsyncIterator[None]:
        """Hold a slot for the length of the block. Raises Full at once, or Late after `patience` seconds.

        tell: is awaited with the number of those who are served before, whenever it changes, down to 0.
        """
        if self.running < self.slots:
            self.running += 1
        else:
            await self._wait(tell)
        try:
            if tell is not None:
                await tell(0)
            yield
        finally:
            self._pass_on()

    async def _wait(self, tell: Callable[[int], Awaitable[None]] | None) -> None:
        if len(self._line) >= self.queue:
            raise Full
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self.patience):
                if tell is not None:
                    await self._tell(turn, tell)
                await turn
        except BaseException as error:
            # The slot may have come in the very moment in which the wait was given up.
            if turn.done() and not turn.cancelled():
                self._pass_on()
            elif turn in self._line:
                self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise Late from None
            raise

    async def _tell(self, turn: asyncio.Future[None], tell: Callable[[int], Awaitable[None]]) -> None:
        told = None
        while not turn.done():
            place = self._line.index(turn) + 1
            if place != told:
                await tell(told := place)
            await asyncio.wait((turn,), timeout=LOOK)

    def _pass_on(self) -> None:
        """Give a slot to whoever waits longest."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1
