"""More than the deployment takes, longer than it may: refused clearly, and nothing runs on."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from launcher.server import TritonServer
from support.asking import LONG, TOKENS
from support.metrics import metric, stopped_before, wait_for_active_requests
from support.serving import serve_shim

pytestmark = pytest.mark.server

TIMEOUT = 60
LONG_ZEPHYR = {"user_message": "What is a zephyr?", "max_new_tokens": 3500, "temperature": 1}


@pytest.fixture(scope="module")
def narrow_url(triton: TritonServer) -> Iterator[str]:
    with serve_shim(
        triton.grpc_address,
        max_running=1,
        max_waiting=1,
        max_prompt_characters=1000,
        stalled_reader_seconds=1,
    ) as url:
        yield url


def wait_for_waiting(url: str, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT
    while (found := gauge(url, "aeolus_requests_waiting")) != count:
        assert time.monotonic() < deadline, f"{found} wait, not {count}"
        time.sleep(0.02)


def gauge(url: str, name: str) -> float:
    return metric(f"{url}/metrics", name, model="stablelm-zephyr-3b")


def test_beyond_running_and_waiting_is_429(narrow_url: str, triton: TritonServer) -> None:
    with (
        stopped_before(triton, TOKENS),
        httpx.Client(timeout=TIMEOUT) as client,
        client.stream("POST", f"{narrow_url}/predict", json=LONG) as running,
    ):
        received = running.iter_raw()
        next(received)
        assert gauge(narrow_url, "aeolus_requests_running") == 1
        waiting = client.build_request("POST", f"{narrow_url}/predict", json=LONG)
        sent = send_only(narrow_url, waiting.read())
        wait_for_waiting(narrow_url, 1)
        sent.close()
        wait_for_waiting(narrow_url, 0)
        sent = send_only(narrow_url, waiting.read())
        wait_for_waiting(narrow_url, 1)
        for path, body, member in [
            ("/predict", LONG, "error"),
            ("/v1/models/stablelm-zephyr-3b:predict", {**LONG, "stream": False}, "error"),
        ]:
            refused = client.post(narrow_url + path, json=body)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json() == {member: "Too many requests run or wait; try again later."}
        sent.close()
    assert metric(f"{narrow_url}/metrics", "aeolus_refusals_total", reason="busy") == 2


def send_only(url: str, body: bytes) -> socket.socket:
    """Send a request to predict whose reply nobody reads."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((host, int(port)))
    head = f"POST /predict HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize(
    ("path", "body", "member"),
    [
        ("/predict", LONG | {"stream": False}, "error"),
        ("/zephyr/python", LONG_ZEPHYR, "detail"),
        ("/zephyr/raw", {"user_message": "What is a zephyr?"}, "detail"),
    ],
)
def test_a_deadline_is_a_504_and_frees_the_engine(
    shim_url: str, triton: TritonServer, path: str, body: dict[str, Any], member: str
) -> None:
    seconds = "0.3" if path == "/predict" else "0.02"
    with stopped_before(triton, TOKENS):
        reply = httpx.post(
            shim_url + path, json=body, headers={"x-request-timeout": seconds}, timeout=TIMEOUT
        )
    assert reply.status_code == 504
    assert reply.json() == {member: "The request exceeded its deadline and was stopped."}


def test_a_deadline_in_mid_stream_ends_in_an_error_event(
    shim_url: str, triton: TritonServer
) -> None:
    with stopped_before(triton, TOKENS):
        reply = cut_in_mid_stream(shim_url, "text/event-stream")
    assert reply is not None
    assert reply.text.rstrip().endswith(
        'event: error\ndata: {"error": "The request exceeded its deadline and was stopped.",'
        ' "status": 504}'
    )


def test_a_deadline_in_mid_stream_breaks_raw_text(shim_url: str, triton: TritonServer) -> None:
    with stopped_before(triton, TOKENS):
        assert cut_in_mid_stream(shim_url, "*/*") is None


def cut_in_mid_stream(url: str, accept: str) -> httpx.Response | None:
    """Send a request whose time is over after its first chunk; None where the reply is broken."""
    for seconds in (0.5, 2, 8):  # before the first chunk, on a slow machine, it would be a 504
        headers = {"accept": accept, "x-request-timeout": str(seconds)}
        try:
            reply = httpx.post(f"{url}/predict", json=LONG, headers=headers, timeout=TIMEOUT)
        except httpx.RemoteProtocolError:
            return None
        if reply.status_code != 504:
            break
    assert reply.status_code == 200
    return reply


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", ""])
def test_a_timeout_that_is_no_time_is_refused(shim_url: str, value: str) -> None:
    reply = httpx.post(
        f"{shim_url}/predict", json=LONG, headers={"x-request-timeout": value}, timeout=TIMEOUT
    )
    assert reply.status_code == 400
    assert reply.json() == {"error": "x-request-timeout: must be a number of seconds above 0"}


def test_a_prompt_that_is_too_long_is_not_tokenized(narrow_url: str) -> None:
    reply = httpx.post(
        f"{narrow_url}/zephyr/python", json={"user_message": "x" * 1001}, timeout=TIMEOUT
    )
    assert reply.status_code == 400
    assert "at most 1000 are read" in reply.json()["detail"]


def test_a_client_that_reads_nothing_is_cut_off(narrow_url: str, triton: TritonServer) -> None:
    body = httpx.Request("POST", narrow_url, json=LONG).read()
    with send_only(narrow_url, body) as connection:
        wait_for_active_requests(triton, 1)
        wait_for_active_requests(triton, 0)
        wait_until_given_up(connection)
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def wait_until_given_up(connection: socket.socket) -> None:
    """Wait until the kernel has ended the other side; it tells ours when that reads again."""
    other_side = re.compile(rf" \w+:\w+ \w+:{connection.getsockname()[1]:04X} ")
    deadline = time.monotonic() + TIMEOUT
    while other_side.search(Path("/proc/net/tcp").read_text()):
        assert time.monotonic() < deadline, "it is not cut off"
        time.sleep(0.1)


def read_all(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass
