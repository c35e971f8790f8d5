"""The Tritons behind the shim: which of them are ready, and which one has least to do."""

import asyncio
import logging
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

PROBE_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Replica:
    """One Triton: a client for each of its ensembles, and what is known of it."""

    address: str
    clients: dict[str, TritonClient]
    is_healthy: bool = False
    is_broken: bool = False
    """Whether it says that it is ready, and is not."""
    running: int = 0

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


class Replicas:
    """Runs requests on the healthy Triton that has the fewest."""

    def __init__(self, addresses: Iterable[str], ensembles: Iterable[str], healthy: Gauge):
        """Make the clients; call with the event loop running.

        Args:
            addresses: `host:port` of the gRPC service of each Triton.
            ensembles: names of the ensembles that each of them serves.
            healthy: shows the health of each address.
        """
        self._replicas = [
            Replica(address, {name: TritonClient(address, name) for name in set(ensembles)})
            for address in dict.fromkeys(addresses)
        ]
        self._gauge = healthy

    @property
    def are_ready(self) -> bool:
        """Whether a request can be run."""
        return any(replica.is_healthy for replica in self._replicas)

    async def check(self) -> None:
        """Ask every Triton whether it is ready."""
        await asyncio.gather(*(self._check(replica) for replica in self._replicas))

    async def check_for_ever(self, seconds: float) -> None:
        """Ask again each time that `seconds` have passed."""
        while True:
            await asyncio.sleep(seconds)
            await self.check()

    def end_streams(self, error: ServiceError) -> None:
        """End in `error` every request that runs, and every one to come."""
        for replica in self._replicas:
            for client in replica.clients.values():
                client.end_streams(error)

    async def close(self) -> None:
        """Disconnect from every Triton."""
        await asyncio.gather(
            *(client.close() for each in self._replicas for client in each.clients.values())
        )

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
                self._gauge.labels(replica.address).set(False)
                if is_begun or replica is order[-1]:
                    raise
                logger.warning("%s: %s; trying another Triton", replica.address, error)
            finally:
                replica.running -= 1

    async def _check(self, replica: Replica) -> None:
        if await replica.check():
            if replica.is_healthy:
                logger.info("Triton at %s is ready", replica.address)
            else:
                logger.warning("Triton at %s is not ready", replica.address)
        self._gauge.labels(replica.address).set(replica.is_healthy)

    def _by_load(self) -> list[Replica]:
        return sorted(self._replicas, key=lambda each: (not each.is_healthy, each.running))

    async def _require_health(self, replica: Replica) -> None:
        """Ask one that was not ready; a request to one that is frozen would wait for ever."""
        if replica.is_broken:
            raise ServerBrokenError("it must be started again")
        if not replica.is_healthy:
            await self._check(replica)
            if not replica.is_healthy:
                raise ServerUnavailableError("it is not ready")
