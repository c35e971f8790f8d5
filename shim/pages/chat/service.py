"""The service as the page reaches it: its public routes, over HTTP."""

import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from shim.families.replies import EVENT_STREAM_TYPE
from shim.pages.chat.endpoints import Endpoint, Piece, Question
from shim.settings import Settings

CONNECT_SECONDS = 5.0
UNREACHABLE = "The service cannot be reached"
BROKEN_OFF = "The reply broke off"
TITLES = {
    400: "The model cannot take this request",
    401: "An API key is needed",
    404: "Not served here",
    413: "The message is too large",
    422: "A parameter is wrong",
    429: "The service is busy",
    500: "The generation failed",
    503: "The model is not available now",
    504: "The reply took too long",
}


class ServiceProblemError(Exception):
    """A request that has no whole reply: a title and a text for the person who asked."""

    def __init__(self, title: str, text: str, status: int | None = None):
        super().__init__(f"{title}: {text}")
        self.title = title
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where this process listens, as one of its own clients reaches it."""

    url: str
    certificate: str | None
    """Path of the certificate that it serves HTTPS with."""

    @classmethod
    def of(cls, settings: Settings, server: tuple[str, int]) -> "Address":
        """Return the address at which a request has arrived.

        Args:
            settings: of this process.
            server: host and port of the socket, from the request's ASGI scope.
        """
        host, port = server
        name = f"[{host}]" if ":" in host else host
        certificate = settings.tls_certificate
        scheme = "http" if certificate is None else "https"
        return cls(f"{scheme}://{name}:{port}", str(certificate) if certificate else None)

    def tls(self) -> ssl.SSLContext | bool:
        """Return what trusts the service's own certificate, whatever name it is for."""
        if self.certificate is None:
            return False
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


class Service:
    """The client of one tab."""

    def __init__(self, address: Address):
        self.address = address

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.address.url,
            verify=self.address.tls(),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),
            trust_env=False,
        )

    async def ask(
        self, endpoint: Endpoint, question: Question, api_key: str
    ) -> AsyncGenerator[Piece, None]:
        """Send a question and yield its reply as it comes; closing it cancels the generation.

        Raises:
            ServiceProblemError: the request is refused, or its reply breaks off.
        """
        is_streamed = endpoint.is_streamed(question)
        headers = authorization(api_key) | ({"accept": EVENT_STREAM_TYPE} if is_streamed else {})
        body = endpoint.body(question)
        try:
            async with (
                self._client() as client,
                client.stream("POST", endpoint.path, json=body, headers=headers) as reply,
            ):
                if reply.status_code != 200:
                    raise _problem(reply.status_code, await reply.aread())
                if not is_streamed:
                    yield endpoint.read_reply(json.loads(await reply.aread()), reply.headers)
                    return
                async with aclosing(_events(reply)) as events:
                    async for event in events:
                        piece = endpoint.read_event(event)
                        if piece is not None:
                            yield piece
        except httpx.ConnectError as error:
            raise ServiceProblemError(UNREACHABLE, "It is shutting down or restarting.") from error
        except httpx.HTTPError as error:
            raise ServiceProblemError(
                BROKEN_OFF, "The connection to the service was lost; try again."
            ) from error

    async def get(self, path: str) -> httpx.Response:
        """Return the reply to a GET, whatever its status.

        Raises:
            ServiceProblemError: there is none.
        """
        try:
            async with self._client() as client:
                return await client.get(path, timeout=CONNECT_SECONDS)
        except httpx.HTTPError as error:
            raise ServiceProblemError(UNREACHABLE, str(error)) from error


def authorization(api_key: str) -> dict[str, str]:
    """Return the header that a key is sent in; none without a key."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


async def _events(reply: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the objects of a stream of server-sent events; raises what it reports as an error."""
    async for line in reply.aiter_lines():
        field, _, value = line.partition(": ")
        if field != "data" or value == "[DONE]":
            continue
        event: dict[str, Any] = json.loads(value)
        if "error" in event:
            raise ServiceProblemError(BROKEN_OFF, _text_of(event))
        yield event


def _problem(status: int, content: bytes) -> ServiceProblemError:
    title = TITLES.get(status, f"The service answered {status}")
    try:
        body = json.loads(content)
    except ValueError:
        return ServiceProblemError(title, content.decode(errors="replace")[:500], status)
    return ServiceProblemError(title, _text_of(body), status)


def _text_of(body: Any) -> str:
    """Return the text of an error reply of any of the API families."""
    error = body.get("error", body.get("detail", body)) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        error = error.get("message", error)
    if isinstance(error, list):
        return "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error)
    return str(error)
