import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from aeolus_client import GenerationFailedError, ServerUnavailableError, ServiceError, TextChunk
from shim.families.replies import StreamAbortedError, StreamForm, stream_form, stream_reply

FIRST = TextChunk("Wi", 3, 1, None)
SECOND = TextChunk("nd\n\u00e9", 3, 2, None)
LAST = TextChunk("", 3, 3, "stop")


class Chunks:
    """The rest of a stream that may fail, and whether it was closed."""

    def __init__(self, *chunks: TextChunk, failure: ServiceError | None = None):
        self.is_closed = False
        self.generator = self._generate(chunks, failure)

    async def _generate(
        self, chunks: tuple[TextChunk, ...], failure: ServiceError | None
    ) -> AsyncGenerator[TextChunk, None]:
        try:
            for chunk in chunks:
                yield chunk
            if failure is not None:
                raise failure
        finally:
            self.is_closed = True


async def started(chunks: Chunks) -> TextChunk:
    return await anext(chunks.generator)


def send_reply(
    form: StreamForm, chunks: Chunks, *, leave_after: int | None = None
) -> list[Message]:
    """Run the reply as an ASGI server does; the client may leave after some messages."""
    sent: list[Message] = []

    async def run() -> None:
        has_left = asyncio.Event()

        async def receive() -> Message:
            await has_left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) == leave_after:
                has_left.set()
                await asyncio.sleep(60)

        reply = stream_reply(form, await started(chunks), chunks.generator, "id-1")
        await reply({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)

    try:
        asyncio.run(run())
    except StreamAbortedError:
        sent.append({"type": "aborted"})
    return sent


def headers(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def body(sent: list[Message]) -> str:
    return b"".join(each.get("body", b"") for each in sent).decode()


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    parsed = []
    for event in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        parsed.append((fields.get("event", "message"), json.loads(fields["data"])))
    return parsed


def test_raw_text_has_no_framing() -> None:
    sent = send_reply("text", Chunks(FIRST, SECOND, LAST))
    assert body(sent) == "Wind\n\u00e9"
    assert sent[-1]["more_body"] is False
    assert headers(sent)["content-type"] == "application/octet-stream"
    assert headers(sent)["x-request-id"] == "id-1"
    assert headers(sent)["x-usage-prompt-tokens"] == "3"


def test_events_end_with_reason_and_usage() -> None:
    sent = send_reply("events", Chunks(FIRST, SECOND, LAST))
    assert headers(sent)["content-type"] == "text/event-stream"
    assert events(body(sent)) == [
        ("message", {"text": "Wi"}),
        ("message", {"text": "nd\n\u00e9"}),
        (
            "message",
            {
                "text": "",
                "finish_reason": "stop",
                "usage": {"prompt_tokens": 3, "completion_tokens": 3},
            },
        ),
    ]


def test_failed_raw_text_is_never_ended(caplog: pytest.LogCaptureFixture) -> None:
    chunks = Chunks(FIRST, SECOND, failure=GenerationFailedError("out of memory"))
    sent = send_reply("text", chunks)
    assert body(sent) == "Wind\n\u00e9"
    assert sent[-1] == {"type": "aborted"}
    assert all(each.get("more_body", True) for each in sent)
    assert "request id-1" in caplog.text
    assert "out of memory" in caplog.text


@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [
        (
            GenerationFailedError("Traceback: out of memory"),
            500,
            "Generation failed; the server's log says why, at request id-1.",
        ),
        (
            ServerUnavailableError("10.0.0.1:8001 refused"),
            503,
            "The model server cannot be reached or is not ready; try again later.",
        ),
    ],
)
def test_failed_events_end_in_an_error_event(failure: ServiceError, status: int, text: str) -> None:
    sent = send_reply("events", Chunks(FIRST, failure=failure))
    assert events(body(sent)) == [
        ("message", {"text": "Wi"}),
        ("error", {"error": text, "status": status}),
    ]
    assert sent[-1]["more_body"] is False


@pytest.mark.parametrize("form", ["text", "events"])
@pytest.mark.parametrize("leave_after", [1, 2, 3])
def test_a_client_that_leaves_ends_the_generation(form: StreamForm, leave_after: int) -> None:
    chunks = Chunks(FIRST, *[SECOND] * 100, LAST)
    sent = send_reply(form, chunks, leave_after=leave_after)
    assert len(sent) == leave_after
    assert chunks.is_closed


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "text"),
        ("*/*", "text"),
        ("application/json, text/plain, */*", "text"),
        ("application/json", "gathered"),
        ("Application/JSON; charset=utf-8", "gathered"),
        ("text/event-stream", "events"),
        ("text/event-stream, */*;q=0.1", "events"),
    ],
)
def test_the_accept_header_chooses_the_form(accept: str | None, form: StreamForm) -> None:
    fields = [] if accept is None else [(b"accept", accept.encode())]
    assert stream_form(Request({"type": "http", "headers": fields})) == form
