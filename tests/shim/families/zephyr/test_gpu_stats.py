import json
from contextlib import suppress

import pynvml
import pytest
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from shim.families.zephyr import gpu_stats
from shim.server import MAX_MESSAGE_BYTES

TOO_BIG = 1009
TIMEOUT = 60


def has_gpu() -> bool:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    return bool(pynvml.nvmlDeviceGetCount())


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_the_list_is_empty_and_comes_again(
    shim: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_stats, "PERIOD_SECONDS", 0.01)
    with shim.websocket_connect("/zephyr/ws/gpu-stats") as socket:
        socket.send_text("hello")
        assert [socket.receive_json() for _ in range(3)] == [{"gpus": []}] * 3


@pytest.mark.skipif(not has_gpu(), reason="there is no GPU")
def test_a_gpu_is_described(shim: TestClient) -> None:
    with shim.websocket_connect("/zephyr/ws/gpu-stats") as socket:
        first = socket.receive_json()["gpus"][0]
    assert list(first) == list(gpu_stats.GpuStats.__annotations__)
    assert first["memoryUsed"] + first["memoryFree"] <= first["memoryTotal"]


@pytest.mark.server
def test_a_websocket_client_is_told_once_a_second(shim_url: str) -> None:
    with connect(f"{shim_url.replace('http', 'ws')}/zephyr/ws/gpu-stats") as socket:
        received = [json.loads(socket.recv(timeout=TIMEOUT)) for _ in range(2)]
    assert [list(each) for each in received] == [["gpus"], ["gpus"]]


@pytest.mark.server
def test_a_websocket_client_that_talks_much_is_not_listened_to(shim_url: str) -> None:
    with connect(f"{shim_url.replace('http', 'ws')}/zephyr/ws/gpu-stats") as socket:
        socket.send("x" * (MAX_MESSAGE_BYTES + 1))
        with suppress(ConnectionClosed):
            for _ in range(TIMEOUT):
                socket.recv(timeout=TIMEOUT)
        assert socket.close_code == TOO_BIG


def test_the_welcome_page_lists_it(shim: TestClient) -> None:
    assert "<td>WS /zephyr/ws/gpu-stats</td>" in shim.get("/").text
