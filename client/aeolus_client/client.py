"""The client most programs want, with asyncio: a service by REST, or a Triton by gRPC or HTTP."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

from aeolus_client.backend import ModelInfo, TextRequest
from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import Completion, Message, TextChunk
from aeolus_client.parameters import GenerateParameters
from aeolus_client.rest.backend import Prediction, RestBackend, ZephyrRoute
from aeolus_client.servers import Servers
from aeolus_client.triton.backend import GRPC, HTTP, TritonBackend

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = 600.0
REST = ("http://", "https://")

Prompt = str | Sequence[Message]
"""A question, sent as the user's message, or a whole conversation."""


class AsyncClient:
    """Sends requests to one server or several; one object serves any number of tasks.

    Every method raises a `ServiceError` when it cannot do what it says; its class says what the
    caller can do about it. Only a request whose connection failed before the reply began is sent
    again. Leaving a stream, cancelling the task that waits, and a timeout all stop the engine.

    >>> import asyncio
    >>> async def main():
    ...     async with AsyncClient("http://127.0.0.1:8000") as client:
    ...         async for chunk in client.stream("What is a zephyr?", max_tokens=20):
    ...             print(chunk.text, end="")
    >>> asyncio.run(main())
    A zephyr is ...
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        connect_timeout: float = 5.0,
        retries: int = 2,
    ):
        """Connect on first use.

        Args:
            url: `http://host:port` of a service, or of a Triton `grpc://host:port` of its gRPC
                service or `triton+http://host:port` of its HTTP one; several of one kind that
                serve the same take turns.
            model: of requests that name none; else the service's first, or Triton's `ensemble`.
            api_key: of the service.
            timeout: seconds after which a request ends in a `DeadlineExceededError`; `None` never.
            connect_timeout: seconds for a connection to a service.
            retries: how often all servers are tried again when none can be reached.

        Raises:
            ValueError: an address of another form, or of both kinds; an API key no header can hold.
        """
        urls = [url] if isinstance(url, str) else list(url)
        self.model = model
        self._timeout = timeout
        self._rest: Servers[RestBackend] | None = None
        self._triton: Servers[TritonBackend] | None = None
        if urls and all(each.startswith(REST) for each in urls):
            self._rest = Servers([RestBackend(u, api_key, connect_timeout) for u in urls], retries)
        elif urls and all(each.startswith((GRPC, *HTTP)) for each in urls):
            self._triton = Servers([TritonBackend(each) for each in urls], retries)
        else:
            raise ValueError(
                f"{', '.join(urls) or 'no address'}: give http://host:port of a service, or"
                " grpc://host:port or triton+http://host:port of a Triton; several of one kind"
            )

    async def generate(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        raw: bool = False,
        timeout: float | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> Completion:
        """Return the whole reply to a question or conversation.

        Args:
            prompt: a question or a conversation.
            model: instead of the client's.
            raw: continue the text `prompt` as it stands, without the chat template.
            timeout: seconds, instead of the client's.
            parameters: what is left out the server decides.
        """
        request = self._request(prompt, model, raw, parameters)
        seconds = self._timeout if timeout is None else timeout
        return await self._servers.call(lambda each: each.complete(request), seconds)

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        raw: bool = False,
        timeout: float | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> AsyncGenerator[TextChunk, None]:
        """Yield the reply as it comes; the last chunk has the finish reason and the counts.

        Takes what `generate` takes.
        """
        request = self._request(prompt, model, raw, parameters)
        seconds = self._timeout if timeout is None else timeout
        return self._servers.stream(lambda each: each.stream(request), seconds)

    async def predict(
        self,
        body: Mapping[str, Any],
        *,
        model: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Post a body to the model's predict route; returns what the route replies."""
        chosen = model or self.model
        seconds = self._timeout if timeout is None else timeout
        return await self._service("predict").call(lambda each: each.predict(body, chosen), seconds)

    def stream_predict(
        self,
        body: Mapping[str, Any],
        *,
        model: str | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[TextChunk, None]:
        """Post a body to the model's predict route; yields the reply as it comes."""
        chosen = model or self.model
        seconds = self._timeout if timeout is None else timeout
        return self._service("predict").stream(
            lambda each: each.stream_predict(body, chosen), seconds
        )

    async def zephyr(
        self, route: ZephyrRoute, body: Mapping[str, Any], *, timeout: float | None = None
    ) -> Prediction:
        """Post a query to a route of the Zephyr app; returns what the route replies."""
        seconds = self._timeout if timeout is None else timeout
        return await self._service("zephyr").call(lambda each: each.zephyr(route, body), seconds)

    async def models(self) -> list[ModelInfo]:
        """Return what is served."""
        return await self._servers.call(lambda each: each.models(), self._timeout)

    async def metrics(self) -> str:
        """Return the service's metrics in Prometheus' text format."""
        return await self._service("metrics").call(lambda each: each.metrics(), self._timeout)

    async def count_tokens(self, prompt: Prompt, *, model: str | None = None) -> int:
        """Return how many tokens a question or conversation is to the model.

        The service counts: it is asked for a reply of one token.
        """
        reply = await self.generate(prompt, model=model, max_tokens=1, num_beams=1)
        return reply.prompt_tokens

    async def context_length(self, model: str | None = None) -> int | None:
        """Return how many tokens prompt and reply may have; `None` if the server does not say."""
        chosen = model or self.model
        models = await self.models()
        found = [each for each in models if each.name == chosen] or models
        return found[0].context_length if found else None

    async def close(self) -> None:
        """Disconnect."""
        await self._servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def _servers(self) -> "Servers[RestBackend] | Servers[TritonBackend]":
        servers = self._rest or self._triton
        assert servers is not None
        return servers

    def _service(self, what: str) -> Servers[RestBackend]:
        if self._rest is None:
            raise InvalidRequestError(f"{what} is a route of a service: give its http:// address")
        return self._rest

    def _request(
        self, prompt: Prompt, model: str | None, raw: bool, parameters: Mapping[str, Any]
    ) -> TextRequest:
        chosen = model or self.model
        if raw:
            if not isinstance(prompt, str):
                raise InvalidRequestError("a conversation cannot be continued raw; give a text")
            return TextRequest(text=prompt, model=chosen, parameters=parameters)
        messages: list[Message] = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        )
        return TextRequest(messages=messages, model=chosen, parameters=parameters)
