"""One server by HTTP: requests, and failures as the client's errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aeolus_client.errors import ConnectionFailedError, ServerUnavailableError
from aeolus_client.rest.errors import error_from_response

WRITE_SECONDS = 30.0


class RestConnection:
    """Connections to one address, kept alive between requests.

    Every method raises a `ServiceError`: `ConnectionFailedError` where no reply began,
    `ServerUnavailableError` where one broke off, and by the status of an error reply.
    """

    def __init__(self, address: str, api_key: str | None, connect_timeout: float):
        """Connect on first use.

        Args:
            address: `http://host:port` or `https://...`, perhaps with a path in front of all.
            api_key: for the `Authorization` header.
            connect_timeout: seconds.
        """
        self.address = address
        self._http = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Api-Key {api_key}"} if api_key else {},
            # A reply may take as long as its generation; who asks sets a deadline.
            timeout=httpx.Timeout(None, connect=connect_timeout, write=WRITE_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Send a request and read the whole reply."""
        async with self.open(method, path, body, headers) as response:
            await self._whole(response)
            return response

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; yields the reply with its body unread. Leaving ends the request."""
        request = self._http.build_request(method, path, json=body, headers=headers)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.InvalidURL as error:
            raise ConnectionFailedError(f"{self.address}: {error}") from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailedError(f"{self.address} cannot be reached: {reason}") from error
        try:
            if response.status_code >= 400:
                raise error_from_response(response, await self._whole(response))
            yield response
        finally:
            await response.aclose()

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.TransportError as error:
            raise self._broken(error) from error

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _whole(self, response: httpx.Response) -> str:
        try:
            await response.aread()
        except httpx.TransportError as error:
            raise self._broken(error) from error
        return response.text

    def _broken(self, error: httpx.TransportError) -> ServerUnavailableError:
        reason = str(error) or type(error).__name__
        return ServerUnavailableError(f"{self.address} broke the reply off: {reason}")
