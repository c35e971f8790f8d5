"""The models that a deployment serves, and which of them a request means."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from fastapi import HTTPException, Request

from catalog import ModelEntry, load_catalog
from client import TritonClient
from shim.settings import Settings

HOST_PREFIX = "model-"
CHOSEN_BY_HOST = "model"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model, and the way to the ensemble that runs it."""

    entry: ModelEntry
    client: TritonClient


class ServedModels:
    """The served models by catalog name, in the order of the settings."""

    def __init__(self, models: dict[str, ServedModel], default: str):
        self._models = models
        self._default = default

    @classmethod
    def connect(cls, settings: Settings) -> Self:
        """Make one client for each ensemble; call with the event loop running."""
        clients = {
            ensemble: TritonClient(settings.triton_address, ensemble)
            for ensemble in settings.models.values()
        }
        catalog = load_catalog()
        return cls(
            {
                name: ServedModel(catalog[name], clients[ensemble])
                for name, ensemble in settings.models.items()
            },
            settings.default_model,
        )

    async def close(self) -> None:
        """Disconnect from Triton."""
        await asyncio.gather(*(client.close() for client in self._clients()))

    async def are_ready(self) -> bool:
        """Whether Triton serves every ensemble."""
        return all(await asyncio.gather(*(client.is_ready() for client in self._clients())))

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
                404, f"Model '{name}' is not served here; served: {', '.join(self._models)}"
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

    def _clients(self) -> set[TritonClient]:
        return {model.client for model in self}
