"""What the client of an ensemble asks of a protocol."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

from aeolus_client.errors import ServiceError
from aeolus_client.generation import GenerationRequest
from aeolus_client.triton.tensors import EnsembleResponse

READY_TIMEOUT_SECONDS = 5.0


class Transport(Protocol):
    """One Triton; methods raise a `ServiceError` when they cannot do what they say."""

    def generate(
        self, model: str, request: GenerationRequest, headers: Mapping[str, str] | None
    ) -> AsyncGenerator[EnsembleResponse | ServiceError, None]:
        """Send a request to an ensemble; yields what Triton sends, failures in a response's place.

        Cancelling the task that waits for it ends the call without a word to the engine.
        """

    async def stop(self, engine_model: str, request_id: str) -> None:
        """Tell the engine to cancel the request; returns when it has heard."""

    async def config(self, model: str) -> Mapping[str, Any]:
        """Return a model's configuration as JSON has it, names as in config.pbtxt."""

    async def is_ready(self, model: str) -> bool:
        """Whether the model and all its steps are loaded; false where Triton is away."""

    async def close(self) -> None:
        """Disconnect."""
