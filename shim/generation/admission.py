"""How many generations of a model run, and how many wait for that."""

import asyncio
from bisect import insort
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import Gauge

from aeolus_client import DeadlineExceededError, ServerBusyError


@dataclass(frozen=True, slots=True)
class _Turn:
    priority: float
    comes: asyncio.Future[None]


class Admission:
    """Admits generations by their priority, equal ones in the order in which they came."""

    def __init__(self, max_running: int, max_waiting: int, running: Gauge, waiting: Gauge):
        """Set the limits, and the gauges that show how far they are used."""
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._running = 0
        self._waiting: list[_Turn] = []
        self._running_gauge = running
        self._waiting_gauge = waiting

    @asynccontextmanager
    async def place(self, deadline: float | None, priority: float = 0.5) -> AsyncIterator[None]:
        """Hold one place among the running, after waiting for it.

        Args:
            deadline: until when to wait, on the event loop's clock.
            priority: from 0 to 1, the higher first.

        Raises:
            ServerBusyError: as many wait as may.
            DeadlineExceededError: it was not its turn in time.
        """
        try:
            async with asyncio.timeout_at(deadline):
                await self._enter(priority)
        except TimeoutError as error:
            raise DeadlineExceededError("it was not its turn in time") from error
        self._running_gauge.inc()
        try:
            yield
        finally:
            self._running_gauge.dec()
            self._leave()

    async def _enter(self, priority: float) -> None:
        if self._running < self._max_running:
            self._running += 1
            return
        if len(self._waiting) >= self._max_waiting:
            raise ServerBusyError(
                f"queue full: {self._running} running, {len(self._waiting)} waiting"
            )
        turn = _Turn(priority, asyncio.get_running_loop().create_future())
        insort(self._waiting, turn, key=lambda each: -each.priority)
        self._waiting_gauge.set(len(self._waiting))
        try:
            await turn.comes
        except asyncio.CancelledError:
            if not turn.comes.cancelled():
                self._leave()  # the turn came in the same moment
            elif turn in self._waiting:
                self._waiting.remove(turn)
                self._waiting_gauge.set(len(self._waiting))
            raise

    def _leave(self) -> None:
        """Pass the place to whose turn it is, if anybody waits."""
        while self._waiting:
            turn = self._waiting.pop(0)
            self._waiting_gauge.set(len(self._waiting))
            if not turn.comes.done():  # else whoever waited has just been cancelled
                turn.comes.set_result(None)
                return
        self._running -= 1
