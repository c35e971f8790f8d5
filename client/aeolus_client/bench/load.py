"""When requests are sent, and what is seen of each."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Literal

from aeolus_client.bench.workload import BenchRequest, Workload
from aeolus_client.client import AsyncClient
from aeolus_client.errors import ServiceError

Arrivals = Literal["poisson", "constant"]


@dataclass(slots=True)
class Sample:
    """One request as its sender saw it; times in seconds since the load began."""

    due: float
    """When it was to be sent: latencies count from here, so that a late sender hides nothing."""
    first: float | None = None
    """When the first text came; `None` for a reply that was not streamed."""
    last: float | None = None
    """When the last text came."""
    end: float = 0.0
    gaps: list[float] = field(default_factory=list)
    """Between the pieces of a stream."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """So many requests at once (`concurrency`), or so many a second (`rate`); never both."""

    concurrency: int = 1
    rate: float | None = None
    arrivals: Arrivals = "poisson"
    """With a rate: exponential times between requests, or equal ones."""
    requests: int | None = None
    seconds: float | None = None
    """It ends after so many requests or seconds, whichever comes first; one must be given."""
    is_streamed: bool = True
    seed: int = 0

    def offsets(self) -> Iterator[float]:
        """Yield when each request of a rate is due, in seconds."""
        assert self.rate is not None
        chance = random.Random(self.seed)  # noqa: S311 - no secret
        due = 0.0
        while True:
            yield due
            due += chance.expovariate(self.rate) if self.arrivals == "poisson" else 1 / self.rate


class Run:
    """One run of a load; `samples` grows while it runs, and holds what has ended."""

    def __init__(
        self,
        client: AsyncClient,
        workload: Workload,
        load: Load,
        on_sample: Callable[[Sample], None] = lambda _: None,
    ):
        """Take what to send where, and what to call after each request."""
        self._client = client
        self._workload = workload
        self._load = load
        self._on_sample = on_sample
        self._began = 0.0
        self._issued = 0
        self.samples: list[Sample] = []
        self.in_flight = 0

    async def run(self) -> None:
        """Send everything and wait for every reply; cancelling it leaves the samples so far."""
        self._began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            if self._load.rate is None:
                for _ in range(self._load.concurrency):
                    tasks.create_task(self._work())
            else:
                await self._arrive(tasks)

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    async def _work(self) -> None:
        while not self._is_over():
            self._issued += 1
            await self._send(self._workload.next(), self.elapsed)

    async def _arrive(self, tasks: asyncio.TaskGroup) -> None:
        for due in self._load.offsets():
            if self._load.seconds is not None and due >= self._load.seconds:
                return
            await asyncio.sleep(max(0.0, due - self.elapsed))
            if self._is_over():
                return
            self._issued += 1
            tasks.create_task(self._send(self._workload.next(), due))

    def _is_over(self) -> bool:
        load = self._load
        return (load.requests is not None and self._issued >= load.requests) or (
            load.seconds is not None and self.elapsed >= load.seconds
        )

    async def _send(self, request: BenchRequest, due: float) -> None:
        sample = Sample(due)
        self.in_flight += 1
        try:
            if self._load.is_streamed:
                await self._stream(request, sample)
            else:
                reply = await self._client.generate(request.prompt, **request.parameters)
                sample.prompt_tokens = reply.prompt_tokens
                sample.completion_tokens = reply.completion_tokens
        except ServiceError as error:
            sample.error = f"{type(error).__name__}: {error}"
        finally:
            self.in_flight -= 1
        sample.end = self.elapsed
        self.samples.append(sample)
        self._on_sample(sample)

    async def _stream(self, request: BenchRequest, sample: Sample) -> None:
        before: float | None = None
        async with aclosing(self._client.stream(request.prompt, **request.parameters)) as chunks:
            async for chunk in chunks:
                now = self.elapsed
                if chunk.text:
                    if before is None:
                        sample.first = now
                    else:
                        sample.gaps.append(now - before)
                    before = sample.last = now
                if chunk.finish_reason is not None:
                    sample.prompt_tokens = chunk.prompt_tokens
                    sample.completion_tokens = chunk.completion_tokens
