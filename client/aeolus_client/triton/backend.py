"""A Triton behind the same interface as a service by REST."""

from collections.abc import AsyncGenerator

from aeolus_client.backend import ModelInfo, TextRequest
from aeolus_client.generation import Completion, TextChunk
from aeolus_client.http.connection import check_address
from aeolus_client.triton.client import TritonClient, gather
from aeolus_client.triton.parameters import generation_request

DEFAULT_MODEL = "ensemble"
GRPC = "grpc://"
HTTP = ("triton+http://", "triton+https://")


class TritonBackend:
    """The ensembles of one Triton, each by its name."""

    def __init__(self, address: str):
        """Connect on first use.

        Args:
            address: `grpc://host:port`, or `triton+http://host:port` (or `https`).

        Raises:
            ValueError: an address of another form.
        """
        self.address = address
        self._clients: dict[str, TritonClient] = {}
        if address.startswith(HTTP):
            self._service = check_address(address.removeprefix("triton+"))
        elif address.startswith(GRPC):
            self._service = address.removeprefix(GRPC).rstrip("/")
        else:
            raise ValueError(f"{address}: give {GRPC}host:port or {HTTP[0]}host:port of a Triton")

    async def complete(self, request: TextRequest) -> Completion:
        """See `Backend`."""
        return await gather(self._client(request.model).stream(generation_request(request)))

    def stream(self, request: TextRequest) -> AsyncGenerator[TextChunk, None]:
        """See `Backend`."""
        return self._client(request.model).stream(generation_request(request, stream=True))

    async def models(self) -> list[ModelInfo]:
        """Return the ensembles asked so far, or NVIDIA's name: Triton's list is not open to all."""
        infos = []
        for name in list(self._clients) or [DEFAULT_MODEL]:
            client = self._client(name)
            infos.append(ModelInfo(name, await client.context_length(), await client.is_ready()))
        return infos

    async def close(self) -> None:
        """Disconnect."""
        for client in self._clients.values():
            await client.close()

    def _client(self, model: str | None) -> TritonClient:
        name = model or DEFAULT_MODEL
        if name not in self._clients:
            self._clients[name] = TritonClient(self._service, name)
        return self._clients[name]
