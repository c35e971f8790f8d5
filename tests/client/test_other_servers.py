"""What the client makes of servers that are not what their address says."""

import json
import threading
from typing import Any

import pytest

from aeolus_client import (
    Client,
    ConnectionFailedError,
    DeadlineExceededError,
    GenerationFailedError,
    InvalidRequestError,
    ServerBusyError,
    ServerUnavailableError,
    ServiceError,
)
from support.broken_server import BrokenServer

QUESTION = "What is a zephyr?"


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def event(content: object) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


@pytest.mark.parametrize("scheme", ["http", "triton+http"])
@pytest.mark.parametrize(
    "body",
    [b"<html>hello</html>", b"{}", b"[]", b"null", b"7", b'{"data": 3}', b"\xff\xfe", b""],
)
def test_another_body_is_said_to_be_one(scheme: str, body: bytes) -> None:
    with BrokenServer(reply(body)) as server:
        url = server.url.replace("http", scheme, 1)
        with Client(url) as client, pytest.raises(ServiceError) as caught:
            client.generate(QUESTION)
    assert type(caught.value) in (GenerationFailedError, InvalidRequestError)


@pytest.mark.parametrize(
    "content",
    [
        b"data: {not json\n\n",
        b"data: [1]\n\n",
        b"data: \xff\xff\n\n",
        event({"choices": [{}]}),
        event({"choices": 5}),
        event({"error": 5}),
        event({"error": {"message": None}}),
    ],
)
def test_another_event_is_said_to_be_one(content: bytes) -> None:
    with BrokenServer(reply(content)) as server, Client(server.url, model="m") as client:
        with pytest.raises(GenerationFailedError):
            list(client.stream(QUESTION))
        with pytest.raises(ServiceError):
            list(client.stream_predict({"prompt": QUESTION}))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "x", "status": 503}, ServerUnavailableError),
        ({"error": "x", "status": 504}, DeadlineExceededError),
        ({"error": {"message": "x", "code": "service_unavailable"}}, ServerUnavailableError),
        ({"error": {"message": "x", "code": "timeout"}}, DeadlineExceededError),
        ({"error": {"message": "x", "type": "requests"}}, ServerBusyError),
        ({"error": "x", "status": "503"}, GenerationFailedError),
    ],
)
def test_an_error_in_a_stream_says_what_can_be_done(
    error: dict[str, Any], kind: type[ServiceError]
) -> None:
    with (
        BrokenServer(reply(event(error))) as server,
        Client(server.url, model="m") as client,
        pytest.raises(kind, match="x"),
    ):
        list(client.stream(QUESTION))


def test_a_redirect_is_not_followed() -> None:
    moved = reply(b"", "302 Found", "location: http://192.0.2.1/elsewhere")
    with (
        BrokenServer(moved) as server,
        Client(server.url, model="m") as client,
        pytest.raises(InvalidRequestError, match=r"redirect to http://192.0.2.1/elsewhere"),
    ):
        client.generate(QUESTION)


def test_an_encoding_that_cannot_be_read_breaks_the_reply_off() -> None:
    broken = reply(b"this is not gzip", "200 OK", "content-encoding: gzip")
    with (
        BrokenServer(broken) as server,
        Client(server.url, model="m") as client,
        pytest.raises(ServerUnavailableError, match="broke the reply off"),
    ):
        client.generate(QUESTION)


def test_a_huge_event_is_read_in_time_that_grows_with_its_length() -> None:
    """One line of 16 MB, of which no piece is looked at more than twice."""
    text = "a" * (16 << 20)
    choice = {"choices": [{"text": text, "finish_reason": "stop"}]}
    usage: Any = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
    body = event(choice) + event(usage) + b"data: [DONE]\n\n"
    with BrokenServer(reply(body)) as server, Client(server.url, model="m") as client:
        chunks = list(client.stream(QUESTION, timeout=60))
    assert len(chunks[0].text) == len(text)


@pytest.mark.parametrize(
    "url",
    ["http://", "http://[::1", "http://a:99999999", "grpc+http://a", "triton+http://", "a b"],
)
def test_what_is_no_address_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        Client(url)


def test_a_key_that_no_header_can_hold_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        Client("http://127.0.0.1:1", api_key="secret\nkey")
    assert "secret" not in str(caught.value)


def test_the_end_of_line_of_a_key_is_not_sent() -> None:
    with BrokenServer(reply(b"{}")) as server, Client(server.url, api_key="k\n") as client:
        with pytest.raises(GenerationFailedError):
            client.generate(QUESTION)
        assert b"authorization: api-key k\r\n" in server.last_request.lower()


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": b"bytes"}, {"a": "\ud800"}])
def test_a_body_that_is_no_json_is_an_invalid_request(body: dict[str, Any]) -> None:
    with (
        Client("http://127.0.0.1:1") as client,
        pytest.raises(InvalidRequestError, match="cannot be written"),
    ):
        client.predict(body)


def test_nothing_is_left_running_by_addresses_of_nothing() -> None:
    before = threading.active_count()
    with Client("http://127.0.0.1:1", retries=0) as client, pytest.raises(ConnectionFailedError):
        client.generate(QUESTION)
    assert threading.active_count() <= before
