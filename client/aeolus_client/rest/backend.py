"""A server by REST."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote

import httpx

from aeolus_client.backend import ModelInfo, TextRequest
from aeolus_client.errors import (
    GenerationFailedError,
    ModelNotFoundError,
    ServerUnavailableError,
)
from aeolus_client.generation import Completion, FinishReason, TextChunk
from aeolus_client.http.connection import CONNECT_SECONDS, HttpConnection
from aeolus_client.http.events import read_events
from aeolus_client.rest.errors import error_from_event, error_from_response

ZephyrRoute = Literal["raw", "python", "system-message", "code-doc", "structured-code-doc"]
CHAT_ROUTE = "/v1/chat/completions"
TEXT_ROUTE = "/v1/completions"
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
EVENT_STREAM = {"Accept": "text/event-stream"}
DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class Prediction:
    """The reply of a predict or Zephyr route."""

    output: Any
    """The text, or a list of texts where several sequences were asked for."""
    prompt_tokens: int
    completion_tokens: int
    finish_reason: FinishReason
    request_id: str


class RestBackend:
    """OpenAI's routes for text and conversations, the predict and Zephyr routes as they are."""

    def __init__(
        self,
        address: str,
        api_key: str | None = None,
        connect_timeout: float = CONNECT_SECONDS,
    ):
        """Connect on first use; see `HttpConnection`."""
        self.address = address
        self._connection = HttpConnection(address, error_from_response, api_key, connect_timeout)
        self._first_model: str | None = None

    async def complete(self, request: TextRequest) -> Completion:
        """See `Backend`."""
        route, body = await self._openai(request)
        response = await self._connection.request("POST", route, body)
        with self._reading():
            content = response.json()
            choice, usage = content["choices"][0], content["usage"]
            return Completion(
                text=choice["text"] if request.messages is None else choice["message"]["content"],
                prompt_tokens=usage["prompt_tokens"],
                completion_tokens=usage["completion_tokens"],
                finish_reason=choice["finish_reason"],
            )

    async def stream(self, request: TextRequest) -> AsyncGenerator[TextChunk, None]:
        """See `Backend`; the counts are known with the last chunk, and 0 before."""
        route, body = await self._openai(request)
        reason: FinishReason | None = None
        usage: dict[str, int] | None = None
        is_whole = False
        async with (
            self._connection.open("POST", route, body | STREAMED) as response,
            aclosing(read_events(self._connection.pieces(response))) as events,
        ):
            async for event in events:
                if event.data == DONE:
                    is_whole = True
                    continue
                with self._reading():
                    content = json.loads(event.data)
                    if "error" in content:
                        raise error_from_event(event.data)
                    usage = content.get("usage") or usage
                    texts = []
                    for choice in content["choices"]:
                        reason = choice["finish_reason"] or reason
                        texts.append(choice.get("text") or choice.get("delta", {}).get("content"))
                for text in texts:
                    if text:
                        yield TextChunk(text, 0, 0, None)
        if not is_whole or reason is None or usage is None:
            raise ServerUnavailableError(f"{self.address} ended the stream before its end")
        with self._reading():
            last = TextChunk("", usage["prompt_tokens"], usage["completion_tokens"], reason)
        yield last

    async def predict(self, body: Mapping[str, Any], model: str | None = None) -> Prediction:
        """Post a body to the predict route of a model; returns the whole reply."""
        response = await self._connection.request(
            "POST", _predict_route(model), {**body, "stream": False}
        )
        with self._reading():
            return _prediction(response)

    async def stream_predict(
        self, body: Mapping[str, Any], model: str | None = None
    ) -> AsyncGenerator[TextChunk, None]:
        """Post a body to the predict route of a model; yields the reply as it comes.

        The prompt's tokens are known from the first chunk on, the reply's with the last.
        """
        last: TextChunk | None = None
        async with (
            self._connection.open(
                "POST", _predict_route(model), {**body, "stream": True}, EVENT_STREAM
            ) as response,
            aclosing(read_events(self._connection.pieces(response))) as events,
        ):
            prompt_tokens = int(response.headers.get("x-usage-prompt-tokens", 0))
            async for event in events:
                with self._reading():
                    if event.name == "error":
                        raise error_from_event(event.data)
                    content = json.loads(event.data)
                    usage = content.get("usage", {})
                    last = TextChunk(
                        content["text"],
                        prompt_tokens,
                        usage.get("completion_tokens", 0),
                        content.get("finish_reason"),
                    )
                yield last
        if last is None or last.finish_reason is None:
            raise ServerUnavailableError(f"{self.address} ended the stream before its end")

    async def zephyr(self, route: ZephyrRoute, body: Mapping[str, Any]) -> Prediction:
        """Post a query to one of the Zephyr app's routes."""
        response = await self._connection.request("POST", f"/zephyr/{route}", dict(body))
        with self._reading():
            return _prediction(response)

    async def models(self) -> list[ModelInfo]:
        """See `Backend`."""
        models = await self._connection.request("GET", "/v1/models")
        try:
            ready = await self._connection.request("GET", "/health/ready")
        except ServerUnavailableError:
            ready = None
        with self._reading():
            listed = models.json()["data"]
            names = [each["id"] for each in listed]
            unavailable = names if ready is None else ready.json().get("unavailable", [])
            return [
                ModelInfo(each["id"], each.get("max_model_len"), each["id"] not in unavailable)
                for each in listed
            ]

    async def metrics(self) -> str:
        """Return the service's metrics in Prometheus' text format."""
        return (await self._connection.request("GET", "/metrics")).text

    async def close(self) -> None:
        """Disconnect."""
        await self._connection.close()

    async def _openai(self, request: TextRequest) -> tuple[str, dict[str, Any]]:
        model = request.model or await self._default_model()
        body = {"model": model, **request.parameters}
        if request.messages is None:
            return TEXT_ROUTE, body | {"prompt": request.text}
        return CHAT_ROUTE, body | {"messages": request.messages}

    async def _default_model(self) -> str:
        if self._first_model is None:
            models = await self.models()
            if not models:
                raise ModelNotFoundError(f"{self.address} serves no model")
            self._first_model = models[0].name
        return self._first_model

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what goes wrong in reading a reply into an error of its sender.

        Raises:
            GenerationFailedError: it is not what the route replies.
        """
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise GenerationFailedError(
                f"{self.address} answers as no such service does: {error!r}"
            ) from error


def _predict_route(model: str | None) -> str:
    return "/predict" if model is None else f"/model_versions/{quote(model, safe='')}/predict"


def _prediction(response: httpx.Response) -> Prediction:
    content, headers = response.json(), response.headers
    if isinstance(content, dict) and len(content) == 1:
        (content,) = content.values()
    return Prediction(
        output=content,
        prompt_tokens=int(headers.get("x-usage-prompt-tokens", 0)),
        completion_tokens=int(headers.get("x-usage-completion-tokens", 0)),
        finish_reason=cast(FinishReason, headers.get("x-finish-reason", "stop")),
        request_id=headers.get("x-request-id", ""),
    )
