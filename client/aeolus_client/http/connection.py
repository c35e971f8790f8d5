"""One server by HTTP: requests, and failures as the client's errors."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aeolus_client.errors import (
    ConnectionFailedError,
    InvalidRequestError,
    ServerUnavailableError,
    ServiceError,
)

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 30.0


class HttpConnection:
    """Connections to one address, kept alive between requests.

    Every method raises a `ServiceError`: `ConnectionFailedError` where no reply began,
    `ServerUnavailableError` where one broke off, `InvalidRequestError` where a request cannot be
    written, and what `error_of` says of any reply whose status is not 2xx.
    """

    def __init__(
        self,
        address: str,
        error_of: Callable[[httpx.Response, str], ServiceError],
        api_key: str | None = None,
        connect_timeout: float = CONNECT_SECONDS,
    ):
        """Connect on first use.

        Args:
            address: `http://host:port` or `https://...`, perhaps with a path in front of all.
            error_of: makes the error of a reply and its body.
            api_key: for the `Authorization` header.
            connect_timeout: seconds.

        Raises:
            ValueError: an address or a key of another form.
        """
        self.address = address
        self._error_of = error_of
        self._http = httpx.AsyncClient(
            base_url=check_address(address),
            headers={} if api_key is None else {"Authorization": _authorization(api_key)},
            # A reply may take as long as its generation; who asks sets a deadline.
            timeout=httpx.Timeout(None, connect=connect_timeout, write=WRITE_SECONDS),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a request and read the whole reply."""
        async with self.open(method, path, body, headers) as response:
            await self._whole(response)
            return response

    @asynccontextmanager
    async def open(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Send a request; yields the reply with its body unread. Leaving ends the request."""
        try:
            request = self._http.build_request(method, path, json=body, headers=headers)
        except (TypeError, ValueError, httpx.InvalidURL) as error:
            raise InvalidRequestError(f"the request cannot be written: {error}") from error
        try:
            response = await self._http.send(request, stream=True)
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailedError(f"{self.address} cannot be reached: {reason}") from error
        try:
            if not response.is_success:
                raise self._error_of(response, await self._whole(response))
            yield response
        finally:
            await response.aclose()

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.RequestError as error:
            raise self._broken(error) from error

    async def close(self) -> None:
        """Disconnect."""
        await self._http.aclose()

    async def _whole(self, response: httpx.Response) -> str:
        try:
            await response.aread()
        except httpx.RequestError as error:
            raise self._broken(error) from error
        return response.text

    def _broken(self, error: httpx.RequestError) -> ServerUnavailableError:
        reason = str(error) or type(error).__name__
        return ServerUnavailableError(f"{self.address} broke the reply off: {reason}")


def check_address(address: str) -> str:
    """Return an address as it is.

    Raises:
        ValueError: it is not an address, or has no host, or no port that there is.
    """
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise ValueError(f"{address}: {error}") from error
    if not url.host:
        raise ValueError(f"{address}: there is no host in it; give http://host:port")
    if not 0 < (url.port or 80) < 65536:
        raise ValueError(f"{address}: a port is a number from 1 to 65535")
    return address


def _authorization(api_key: str) -> str:
    """Return the header's value; the end of line of a file that held the key is not a part of it.

    Raises:
        ValueError: no header can hold the key, which the text does not show.
    """
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key has characters that no header can hold")
    return f"Api-Key {key}"
