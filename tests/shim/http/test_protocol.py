"""What a client can do to the server with its bare connection."""

import json
import socket
import time
from typing import Any

import pytest

from launcher.server import TritonServer
from shim.http import protocol
from support.asking import LONG, TOKENS
from support.metrics import stopped_before, wait_for_active_requests

pytestmark = pytest.mark.server

TIMEOUT = 60
SHORT = LONG | {"stream": False, "max_new_tokens": 3, "min_new_tokens": 3}
LIVE = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n"


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def predict(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def read_to_the_end(connection: socket.socket) -> bytes:
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def is_cut_off(connection: socket.socket, text: bytes) -> bool:
    """Send the text over and over again."""
    deadline = time.monotonic() + TIMEOUT
    try:
        while time.monotonic() < deadline:
            connection.sendall(text)
            time.sleep(0.01)
    except ConnectionError:
        return True
    return False


def test_a_request_that_does_not_wait_for_the_last_reply_is_to_be_sent_again(shim_url: str) -> None:
    with connect(shim_url) as connection:
        connection.sendall(predict(SHORT) + LIVE + predict(SHORT))
        received = read_to_the_end(connection)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received
    assert b'{"output":' in received


@pytest.mark.parametrize("stream", [False, True])
def test_leaving_stops_the_engine_also_when_more_requests_were_sent(
    shim_url: str, triton: TritonServer, stream: bool
) -> None:
    with stopped_before(triton, TOKENS), connect(shim_url) as connection:
        connection.sendall(predict(LONG | {"stream": stream}))
        wait_for_active_requests(triton, 1)
        connection.sendall(predict(LONG) + LIVE)
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("GET /health/live HTTP/1.1\r\n", "HTTP/1.1 needs a Host header."),
        ("POST /predict HTTP/1.1\r\ncontent-length: 2\r\n", "HTTP/1.1 needs a Host header."),
        (
            "GET /zephyr/ws/gpu-stats HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
            "HTTP/1.1 needs a Host header.",
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n", "more than one Host header."),
        ("GET / HTTP/1.0\r\nhost: a\r\nHost: b\r\n", "more than one Host header."),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n", "The Host header is not a host"),
        ("GET / HTTP/1.1\r\nhost: a b\r\n", "The Host header is not a host"),
        ("GET / HTTP/1.1\r\nhost: a:b\r\n", "The Host header is not a host"),
    ],
)
def test_a_request_for_no_host_is_bad(shim_url: str, head: str, reason: str) -> None:
    with connect(shim_url) as connection:
        connection.sendall(f"{head}\r\n".encode() + b"{}" + LIVE)
        received = read_to_the_end(connection)
    assert received.count(b"content-type") == 1
    assert received.startswith(b"HTTP/1.1 400")
    assert reason.encode() in received


@pytest.mark.parametrize(
    "head",
    [
        "GET /health/live HTTP/1.0\r\n",
        "GET /health/live HTTP/1.1\r\nhost: \r\n",
        "GET /health/live HTTP/1.1\r\nhost: model-mistral-7b.my_host:8000\r\n",
        "GET /health/live HTTP/1.1\r\nhost: [::1]:8000\r\n",
    ],
)
def test_every_host_is_taken(shim_url: str, head: str) -> None:
    with connect(shim_url) as connection:
        connection.sendall(f"{head}connection: close\r\n\r\n".encode())
        assert read_to_the_end(connection).startswith(b"HTTP/1.1 200")


def test_requests_one_after_the_other_share_a_connection(shim_url: str) -> None:
    with connect(shim_url) as connection:
        for _ in range(3):
            connection.sendall(LIVE)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "beginning",
    [
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100_000,
        b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000,
        b"GET /" + b"y" * 1_000_000,
        b"POST /predict HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"y" * 1_000_000,
    ],
)
def test_a_head_without_end_is_not_read_on(shim_url: str, beginning: bytes) -> None:
    with connect(shim_url) as connection:
        assert is_cut_off(connection, beginning)


@pytest.mark.parametrize(
    "more", ["", "connection: close\r\n"], ids=["keeps its connection", "closes it"]
)
def test_a_body_that_is_too_long_is_told_so_when_it_was_sent(shim_url: str, more: str) -> None:
    head = f"POST /predict HTTP/1.1\r\nhost: a\r\n{more}content-length: {10 << 20}\r\n\r\n"
    with connect(shim_url) as connection:
        connection.sendall(head.encode() + b"x" * (10 << 20))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_that_is_too_long_is_not_asked_for(shim_url: str) -> None:
    head = "POST /predict HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n"
    with connect(shim_url) as connection:
        connection.sendall(f"{head}content-length: {2 << 20}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


def test_a_body_without_end_is_not_read_on(shim_url: str) -> None:
    with connect(shim_url) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        assert is_cut_off(connection, b"100000\r\n" + b"y" * (1 << 20) + b"\r\n")


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/metrics", "/v1/models"])
def test_head_is_get_without_the_body(shim_url: str, path: str) -> None:
    with connect(shim_url) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
        head, _, body = read_to_the_end(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""


def test_a_head_that_does_not_come_is_not_waited_for(
    shim_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    for beginning in (b"", b"GET / HTTP/1.1\r\nhost: "):
        with connect(shim_url) as connection:
            connection.sendall(beginning)
            assert read_to_the_end(connection) == b""
