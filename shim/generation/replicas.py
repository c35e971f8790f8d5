"""The Tritons behind the shim: which of them are ready, and which one has least to do."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from prometheus_client import Gauge

from aeolus_client import (
    GenerationRequest,
    ServerBrokenError,
    ServerUnavailableError,
    ServiceError,
    TextChunk,
    TritonClient,
    gather,
)
from shim.generation.addresses import resolve

PROBE_SECONDS = 5.0
ROUND_SECONDS_A_STREAM = 0.0003
"""A chunk costs the shim some 40 microseconds beyond what it costs to receive, most of it to write
to the socket; the share of a processor that this takes does not grow with the streams."""
RESOLVE_SECONDS = 5.0
"""How long what DNS has said of a name is taken for true, at least."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Replica:
    """One Triton: a client for each of its ensembles, and what is known of it."""

    address: str
    clients: dict[str, TritonClient]
    is_healthy: bool = False
    is_broken: bool = False
    """Whether it reports that it is ready, and is not."""
    running: int = 0
    last_turn: int = -1
    """Grows with each request that it is given."""

    async def check(self) -> bool:
        """Ask whether it serves every ensemble; returns whether that has changed."""
        was_healthy = self.is_healthy
        is_ready = all(
            await asyncio.gather(*(client.is_ready() for client in self.clients.values()))
        )
        self.is_broken = self.is_broken and is_ready and not await self._answers()
        self.is_healthy = is_ready and not self.is_broken
        return self.is_healthy != was_healthy

    async def _answers(self) -> bool:
        """Whether it runs the shortest request there is."""
        try:
            for client in self.clients.values():
                request = GenerationRequest(text_input="Hi", max_tokens=1)
                await gather(client.stream(request, timeout=PROBE_SECONDS))
        except ServiceError:
            return False
        return True

    def lose(self, error: ServerUnavailableError) -> None:
        """Note that it could not run a request; ends the others if they cannot run either."""
        self.is_healthy = False
        if isinstance(error, ServerBrokenError) and not self.is_broken:
            self.is_broken = True
            logger.error("Triton at %s must be started again: %s", self.address, error)
            for client in self.clients.values():
                client.fail_streams(error)

    def end_streams(self, error: ServiceError) -> None:
        """End in `error` every request that runs, and every one to come."""
        for client in self.clients.values():
            client.end_streams(error)

    async def close(self) -> None:
        """Disconnect."""
        await asyncio.gather(*(client.close() for client in self.clients.values()))


class Replicas:
    """The Tritons that serve the same models; a request runs on the healthy one with the fewest."""

    def __init__(self, addresses: Iterable[str], ensembles: Iterable[str], healthy: Gauge):
        """Connect to nothing until `check`.

        Args:
            addresses: `host:port` of the gRPC services; a name may stand for several.
            ensembles: names of the ensembles that each of them serves.
            healthy: shows the health of each address.
        """
        self._addresses = list(dict.fromkeys(addresses))
        self._ensembles = set(ensembles)
        self._gauge = healthy
        self._replicas: dict[str, Replica] = {}
        self._leaving: list[Replica] = []
        """No longer among the addresses, but still running requests."""
        self._resolved: dict[str, list[str]] = {}
        self._resolve_at = 0.0
        self._turn = itertools.count()
        self._end: ServiceError | None = None

    @property
    def are_ready(self) -> bool:
        """Whether a request can be run."""
        return any(replica.is_healthy for replica in self._replicas.values())

    async def check(self) -> None:
        """Follow the addresses, and ask every Triton whether it is ready."""
        now = time.monotonic()
        if now >= self._resolve_at:
            self._resolve_at = now + RESOLVE_SECONDS
            await self._follow_addresses()
        await asyncio.gather(*(self._check(replica) for replica in self._replicas.values()))

    async def check_for_ever(self, seconds: float) -> None:
        """Check each time that `seconds` have passed."""
        while True:
            await asyncio.sleep(seconds)
            await self.check()

    def end_streams(self, error: ServiceError) -> None:
        """End in `error` every request that runs, and every one to come."""
        self._end = error
        for replica in [*self._replicas.values(), *self._leaving]:
            replica.end_streams(error)

    async def close(self) -> None:
        """Disconnect from every Triton."""
        await asyncio.gather(*(each.close() for each in [*self._replicas.values(), *self._leaving]))

    async def engine(self, ensemble: str) -> str:
        """Return the name of the engine behind an ensemble, which all Tritons have in common."""
        return await self._by_load()[0].clients[ensemble].engine()

    async def stream(
        self,
        ensemble: str,
        request: GenerationRequest,
        seconds: float | None,
        headers: dict[str, str],
    ) -> AsyncGenerator[TextChunk, None]:
        """Run a request; until its first chunk, one Triton after the other that can be reached."""
        order = self._by_load()
        for replica in order:
            is_begun = False
            replica.running += 1
            replica.last_turn = next(self._turn)
            try:
                await self._require_health(replica)
                chunks = replica.clients[ensemble].stream(request, timeout=seconds, headers=headers)
                async with aclosing(chunks):
                    async for chunk in chunks:
                        is_begun = True
                        yield chunk
                return
            except ServerUnavailableError as error:
                replica.lose(error)
                self._show(replica)
                if is_begun or replica is order[-1]:
                    raise
                logger.warning("%s: %s; trying another Triton", replica.address, error)
            finally:
                replica.running -= 1

    async def _follow_addresses(self) -> None:
        """Take in Tritons that are new among the addresses, and let those leave that are gone."""
        await asyncio.gather(*(self._resolve(each) for each in self._addresses))
        current = dict.fromkeys(
            resolved for each in self._addresses for resolved in self._resolved.get(each, [])
        )
        for address in [each for each in current if each not in self._replicas]:
            replica = Replica(
                address,
                {
                    name: TritonClient(address, name, round_seconds_a_stream=ROUND_SECONDS_A_STREAM)
                    for name in self._ensembles
                },
            )
            self._replicas[address] = replica
            if self._end is not None:
                replica.end_streams(self._end)
        for address in [each for each in self._replicas if each not in current]:
            logger.info("Triton at %s is no longer among the addresses", address)
            self._leaving.append(self._replicas.pop(address))
            with contextlib.suppress(KeyError):
                self._gauge.remove(address)
        done = [each for each in self._leaving if not each.running]
        self._leaving = [each for each in self._leaving if each.running]
        await asyncio.gather(*(each.close() for each in done))

    async def _resolve(self, address: str) -> None:
        """Note what an address stands for; if its name cannot be resolved, what is known stays."""
        try:
            self._resolved[address] = await resolve(address)
        except OSError as error:
            logger.warning("%s cannot be resolved: %s", address, error)

    async def _check(self, replica: Replica) -> None:
        if await replica.check():
            if replica.is_healthy:
                logger.info("Triton at %s is ready", replica.address)
            else:
                logger.warning("Triton at %s is not ready", replica.address)
        self._show(replica)

    def _show(self, replica: Replica) -> None:
        if self._replicas.get(replica.address) is replica:
            self._gauge.labels(replica.address).set(replica.is_healthy)

    def _by_load(self) -> list[Replica]:
        """Return the Tritons, the one to try first first; of equals the one that waits longest.

        Raises:
            ServerUnavailableError: none is known.
        """
        if not self._replicas:
            raise ServerUnavailableError(f"{', '.join(self._addresses)} cannot be resolved")
        return sorted(
            self._replicas.values(),
            key=lambda each: (not each.is_healthy, each.running, each.last_turn),
        )

    async def _require_health(self, replica: Replica) -> None:
        """Ask one that was not ready; a request to one that is frozen would wait for ever."""
        if replica.is_broken:
            raise ServerBrokenError("it must be started again")
        if not replica.is_healthy:
            await self._check(replica)
            if not replica.is_healthy:
                raise ServerUnavailableError("it is not ready")
