"""More than the deployment takes, longer than it may: refused clearly, and nothing runs on."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from asking import LONG
from metrics import metric, wait_for_active_requests
from serving import serve_shim

from launcher.server import TritonServer

pytestmark = pytest.mark.server

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


def test_beyond_running_and_waiting_is_429(narrow_url: str, triton: TritonServer) -> None:
    def gauge(name: str) -> float:
        return metric(f"{narrow_url}/metrics", name, model="stablelm-zephyr-3b")

    with (
        httpx.Client(timeout=60) as client,
        client.stream("POST", f"{narrow_url}/predict", json=LONG) as running,
    ):
        received = running.iter_raw()
        next(received)
        assert gauge("aeolus_requests_running") == 1
        waiting = client.build_request("POST", f"{narrow_url}/predict", json=LONG)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{narrow_url}/predict", json=LONG, timeout=httpx.Timeout(5, read=0.3))
        deadline = time.monotonic() + 5
        while gauge("aeolus_requests_waiting"):
            assert time.monotonic() < deadline, "who left still waits"
        sent = send_only(narrow_url, waiting.read())
        while gauge("aeolus_requests_waiting") < 1:
            assert time.monotonic() < deadline
        for path, body, member in [
            ("/predict", LONG, "error"),
            ("/v1/models/stablelm-zephyr-3b:predict", {**LONG, "stream": False}, "error"),
        ]:
            refused = client.post(narrow_url + path, json=body)
            assert refused.status_code == 429
            assert refused.headers["retry-after"] == "1"
            assert refused.json() == {member: "Too many requests run or wait; try again later."}
        sent.close()
    wait_for_active_requests(triton, 0)
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
    reply = httpx.post(shim_url + path, json=body, headers={"x-request-timeout": seconds})
    assert reply.status_code == 504
    assert reply.json() == {member: "The request took longer than it may, and was stopped."}
    wait_for_active_requests(triton, 0)


def test_a_deadline_in_mid_stream_ends_in_an_error_event(
    shim_url: str, triton: TritonServer
) -> None:
    headers = {"accept": "text/event-stream", "x-request-timeout": "0.5"}
    reply = httpx.post(f"{shim_url}/predict", json=LONG, headers=headers)
    assert reply.status_code == 200
    assert reply.text.rstrip().endswith(
        'event: error\ndata: {"error": "The request took longer than it may, and was stopped."}'
    )
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{shim_url}/predict", json=LONG, headers={"x-request-timeout": "0.5"})
    wait_for_active_requests(triton, 0)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", ""])
def test_a_timeout_that_is_no_time_is_refused(shim_url: str, value: str) -> None:
    reply = httpx.post(f"{shim_url}/predict", json=LONG, headers={"x-request-timeout": value})
    assert reply.status_code == 400
    assert reply.json() == {"error": "x-request-timeout: must be a number of seconds above 0"}


def test_a_prompt_that_is_too_long_is_not_tokenized(narrow_url: str) -> None:
    reply = httpx.post(f"{narrow_url}/zephyr/python", json={"user_message": "x" * 1001})
    assert reply.status_code == 400
    assert "at most 1000 are read" in reply.json()["detail"]


def test_a_client_that_reads_nothing_is_cut_off(narrow_url: str, triton: TritonServer) -> None:
    body = httpx.Request("POST", narrow_url, json=LONG).read()
    with send_only(narrow_url, body) as connection:
        wait_for_active_requests(triton, 1)
        wait_for_active_requests(triton, 0, 20)
        time.sleep(2)  # the setting says 1 s
        with pytest.raises(ConnectionResetError):
            read_all(connection)


def read_all(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass
