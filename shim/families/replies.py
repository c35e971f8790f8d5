"""The forms of a reply: JSON, raw text as it comes, server-sent events."""

import json
import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import aclosing
from typing import Any, Literal, NoReturn, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from aeolus_client import Completion, ServiceError, TextChunk
from shim.errors.outcomes import status_and_text
from shim.http.connection import while_connected
from shim.parameters.refusals import in_request_names

AnyChunk = TypeVar("AnyChunk")
StreamForm = Literal["text", "events", "gathered"]

JSON_TYPE = "application/json"
EVENT_STREAM_TYPE = "text/event-stream"
TEXT_STREAM_TYPE = "application/octet-stream"  # as the Truss server labels its streams

logger = logging.getLogger(__name__)


class StreamAbortedError(Exception):
    """Ends a reply without its last chunk, so that it cannot be taken for a whole one."""


def stream_form(request: Request) -> StreamForm:
    """Return the form in which a client wants a stream.

    Truss gathers only for `Accept: application/json`, not where JSON is one of several types.
    """
    accepted = [
        each.partition(";")[0].strip().lower()
        for each in request.headers.get("accept", "").split(",")
    ]
    if EVENT_STREAM_TYPE in accepted:
        return "events"
    return "gathered" if accepted == [JSON_TYPE] else "text"


async def first_chunk(
    request: Request, chunks: AsyncGenerator[AnyChunk, None], given: Collection[str]
) -> AnyChunk:
    """Wait for the first chunk: until it is there, a failure can be reported by the status.

    Args:
        request: whose client may leave.
        chunks: of the reply.
        given: names of the request's parameters, by which a refusal calls them.
    """
    with in_request_names(given):
        return await while_connected(request, anext(chunks))


def json_reply(content: Any, completion: Completion, request_id: str) -> JSONResponse:
    """Return a whole reply, its usage in headers."""
    return JSONResponse(
        content,
        headers={
            "x-request-id": request_id,
            "x-usage-prompt-tokens": str(completion.prompt_tokens),
            "x-usage-completion-tokens": str(completion.completion_tokens),
            "x-finish-reason": completion.finish_reason,
        },
    )


def stream_reply(
    form: StreamForm, first: TextChunk, rest: AsyncGenerator[TextChunk, None], request_id: str
) -> StreamingResponse:
    """Return a reply that sends each chunk as it comes; it closes `rest` however it ends."""
    headers = {"x-request-id": request_id, "x-usage-prompt-tokens": str(first.prompt_tokens)}
    if form == "events":
        return ClosingStream(_events(first, rest, request_id), rest, EVENT_STREAM_TYPE, headers)
    return ClosingStream(_raw_text(first, rest, request_id), rest, TEXT_STREAM_TYPE, headers)


class ClosingStream(StreamingResponse):
    """Sends text as it comes, and closes what it comes from however it ends."""

    def __init__(
        self,
        encoded: AsyncGenerator[str, None],
        source: AsyncGenerator[Any, None],
        media_type: str,
        headers: dict[str, str],
    ):
        """Take the text, the generator that it is made from, and the reply's headers."""
        self._encoded = encoded
        self._source = source
        # A charset parameter would not be what the Truss server sends.
        fixed = {"content-type": media_type, "cache-control": "no-store"}
        super().__init__(encoded, headers=fixed | headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; Starlette cancels a stream when the client leaves, but closes no generator."""
        async with aclosing(self._source), aclosing(self._encoded):
            await super().__call__(scope, receive, send)


async def _raw_text(
    first: TextChunk, rest: AsyncGenerator[TextChunk, None], request_id: str
) -> AsyncGenerator[str, None]:
    yield first.text
    try:
        async for chunk in rest:
            yield chunk.text
    except ServiceError as error:
        _abort(request_id, error)


async def _events(
    first: TextChunk, rest: AsyncGenerator[TextChunk, None], request_id: str
) -> AsyncGenerator[str, None]:
    yield _chunk_event(first)
    try:
        async for chunk in rest:
            yield _chunk_event(chunk)
    except ServiceError as error:
        status, text = status_and_text(error, request_id)
        yield f"event: error\n{data_event({'error': text, 'status': status})}"


def _chunk_event(chunk: TextChunk) -> str:
    data: dict[str, Any] = {"text": chunk.text}
    if chunk.finish_reason is not None:
        data["finish_reason"] = chunk.finish_reason
        data["usage"] = {
            "prompt_tokens": chunk.prompt_tokens,
            "completion_tokens": chunk.completion_tokens,
        }
    return data_event(data)


def data_event(content: dict[str, Any]) -> str:
    """Return a server-sent event."""
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _abort(request_id: str, error: ServiceError) -> NoReturn:
    logger.error("request %s: its stream is cut off: %s", request_id, error)
    raise StreamAbortedError(f"request {request_id}: {error}") from error
