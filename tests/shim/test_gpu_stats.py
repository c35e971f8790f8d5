import pynvml
import pytest
from starlette.testclient import TestClient

from shim import gpu_stats


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


def test_the_welcome_page_lists_it(shim: TestClient) -> None:
    assert "<td>WS /zephyr/ws/gpu-stats</td>" in shim.get("/").text
