"""Streams in a closed loop: each of so many users starts one when their last one has ended."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

Stream = Callable[[], AsyncGenerator[None, None]]
"""Starts one request; yields once a chunk."""


@dataclass(slots=True)
class Measurement:
    """What was seen of the streams; times in seconds."""

    requests: int
    seconds: float = 0.0
    """From the start of the first to the end of the last."""
    first_chunk: list[float] = field(default_factory=list)
    """From the start of each to its first chunk."""
    gaps: list[float] = field(default_factory=list)
    """Between the chunks of one."""

    @property
    def requests_per_second(self) -> float:
        """The rate at which they were answered whole."""
        return self.requests / self.seconds


async def closed_loop(start: Stream, users: int, requests: int) -> Measurement:
    """Run so many streams, one of each user at a time."""
    result = Measurement(requests)
    remaining = iter(range(requests))

    async def user() -> None:
        for _ in remaining:
            before, times = time.perf_counter(), result.first_chunk
            async with aclosing(start()) as chunks:
                async for _ in chunks:
                    now = time.perf_counter()
                    times.append(now - before)
                    before, times = now, result.gaps

    started = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(users)))
    result.seconds = time.perf_counter() - started
    return result
