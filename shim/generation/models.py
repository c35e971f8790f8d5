"""The models that a deployment serves, and which of them a request means."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import HTTPException, Request
from opentelemetry.trace import Tracer

from aeolus_client import GenerationRequest, ServiceError
from catalog import ModelEntry, load_catalog
from shim.generation.model_client import ModelClient
from shim.generation.priority import PriorityLimits
from shim.generation.replicas import Replicas
from shim.observation.context import current
from shim.observation.metrics import Metrics
from shim.parameters.problems import shorten
from shim.parameters.translation import check_engine, is_limited_by_engine
from shim.settings import Settings

HOST_PREFIX = "model-"
CHOSEN_BY_HOST = "model"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model, and the way to the ensemble that runs it."""

    entry: ModelEntry
    client: ModelClient
    priorities: PriorityLimits

    async def check(self, request: GenerationRequest) -> None:
        """Refuse what the caller may not ask, or the engine behind this model would act against.

        The engine is asked only if that may be.

        Raises:
            NotAllowedError: the priority is too high for the caller.
            InvalidParametersError: 422 with every value that the engine would act against.
        """
        self.priorities.check(request.priority, current().key_holder)
        if is_limited_by_engine(request):
            check_engine(request, await self.client.engine())


class ServedModels:
    """The served models by catalog name, in the order of the settings."""

    def __init__(self, settings: Settings, metrics: Metrics, tracer: Tracer):
        """Make the clients; call with the event loop running."""
        ensembles: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, ensemble in settings.models.items():
            ensembles[settings.addresses_of(name)].append(ensemble)
        self._replicas = {
            addresses: Replicas(addresses, names, metrics.triton_healthy)
            for addresses, names in ensembles.items()
        }
        catalog = load_catalog()
        priorities = PriorityLimits(settings)
        self._models = {
            name: ServedModel(
                catalog[name],
                ModelClient(
                    name,
                    ensemble,
                    settings,
                    self._replicas[settings.addresses_of(name)],
                    metrics,
                    tracer,
                ),
                priorities,
            )
            for name, ensemble in settings.models.items()
        }
        self._default = settings.answers_by_default

    @property
    def unavailable(self) -> list[str]:
        """Names of the models that no Triton serves now."""
        return [each.entry.name for each in self if not each.client.is_ready]

    async def check(self) -> None:
        """Ask every Triton whether it is ready."""
        await asyncio.gather(*(each.check() for each in self._replicas.values()))

    async def check_for_ever(self, seconds: float) -> None:
        """Ask again each time that `seconds` have passed; one that is slow delays no other."""
        await asyncio.gather(*(each.check_for_ever(seconds) for each in self._replicas.values()))

    def end_streams(self, error: ServiceError) -> None:
        """End in `error` every request that runs, and every one to come."""
        for each in self._replicas.values():
            each.end_streams(error)

    async def close(self) -> None:
        """Disconnect from every Triton."""
        await asyncio.gather(*(each.close() for each in self._replicas.values()))

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def named(self, name: str) -> ServedModel:
        """Return a model by its catalog name.

        Raises:
            HTTPException: 404 with the served names.
        """
        try:
            return self._models[name]
        except KeyError:
            raise HTTPException(
                404,
                f"Model '{shorten(name)}' is not served here; served: {', '.join(self._models)}",
            ) from None

    def of_host(self, host: str) -> ServedModel:
        """Return the model that a Host header's label `model-<name>` means, else the default.

        Raises:
            HTTPException: 404 with the served names.
        """
        label = host.lower().partition(":")[0].partition(".")[0]
        if label.startswith(HOST_PREFIX):
            return self.named(label.removeprefix(HOST_PREFIX))
        return self._models[self._default]

    def of_request(self, request: Request, name: str = CHOSEN_BY_HOST) -> ServedModel:
        """Return the model called `name`; the literal `model` leaves the choice to the host.

        Raises:
            HTTPException: 404 with the served names.
        """
        if name == CHOSEN_BY_HOST:
            return self.of_host(request.headers.get("host", ""))
        return self.named(name)
