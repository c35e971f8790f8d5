"""Several servers that serve the same: which one is asked, and what happens when one is away."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Generic, TypeVar

from aeolus_client.backend import Backend
from aeolus_client.errors import (
    ConnectionFailedError,
    DeadlineExceededError,
    ServerUnavailableError,
)

B = TypeVar("B", bound=Backend)
T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
AVOIDED_SECONDS = 5.0
"""How long a server that could not be reached is asked last."""


class Servers(Generic[B]):
    """Takes turns between servers.

    A request whose connection failed before its reply began goes to the next server; when all
    have failed, all are tried again after a pause. Nothing else is ever sent twice.
    """

    def __init__(self, backends: list[B], retries: int):
        """Take the servers, and how often all of them are tried again."""
        self.backends = backends
        self._retries = retries
        self._turn = 0
        self._failed_at: dict[int, float] = {}

    async def call(self, work: Callable[[B], Awaitable[T]], seconds: float | None) -> T:
        """Return what `work` does with a server; `DeadlineExceededError` after `seconds`."""
        failure = ServerUnavailableError("no server")
        try:
            async with asyncio.timeout(seconds):
                for pause, backend in self._attempts():
                    await asyncio.sleep(pause)
                    try:
                        return await work(backend)
                    except ConnectionFailedError as error:
                        failure = self._noted(backend, error)
        except TimeoutError as error:
            raise DeadlineExceededError(f"not done after {seconds:g} s") from error
        raise failure

    async def stream(
        self, start: Callable[[B], AsyncGenerator[T, None]], seconds: float | None
    ) -> AsyncGenerator[T, None]:
        """Yield what a server sends; `DeadlineExceededError` after `seconds`."""
        end = None if seconds is None else asyncio.get_running_loop().time() + seconds
        failure = ServerUnavailableError("no server")
        has_begun = False
        for pause, backend in self._attempts():
            async with aclosing(start(backend)) as items:
                while True:
                    try:
                        # Not around the yield: the consumer is not to be cancelled.
                        async with asyncio.timeout_at(end):
                            if not has_begun:
                                await asyncio.sleep(pause)
                            item = await anext(items)
                    except StopAsyncIteration:
                        return
                    except TimeoutError as error:
                        raise DeadlineExceededError(f"not done after {seconds:g} s") from error
                    except ConnectionFailedError as error:
                        if has_begun:
                            raise
                        failure = self._noted(backend, error)
                        break
                    has_begun = True
                    yield item
        raise failure

    async def close(self) -> None:
        """Disconnect from all."""
        for backend in self.backends:
            await backend.close()

    def _attempts(self) -> Iterator[tuple[float, B]]:
        """Yield the servers to try, and how many seconds to wait before each."""
        for attempt in range(self._retries + 1):
            for place, backend in enumerate(self._in_turn()):
                is_retry = attempt > 0 and place == 0
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) if is_retry else 0.0
                yield min(pause, LONGEST_PAUSE_SECONDS), backend

    def _in_turn(self) -> list[B]:
        """Return all servers, from the next one on; those that were away just now last."""
        count = len(self.backends)
        order = [(self._turn + offset) % count for offset in range(count)]
        self._turn += 1
        now = time.monotonic()

        def is_avoided(index: int) -> bool:
            return index in self._failed_at and now - self._failed_at[index] < AVOIDED_SECONDS

        return [self.backends[index] for index in sorted(order, key=is_avoided)]

    def _noted(self, backend: B, error: ConnectionFailedError) -> ConnectionFailedError:
        self._failed_at[self.backends.index(backend)] = time.monotonic()
        return error
