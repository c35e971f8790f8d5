"""A Triton that is there and does not work: its clients are told soon, and so are balancers."""

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.ports import free_ports
from launcher.server import TritonServer
from support.extended import extended
from support.processes import process_of
from support.serving import serve_shim, wait_until_ready

pytestmark = pytest.mark.server

START_SECONDS = 300
TIMEOUT = 60
CHECK_SECONDS = 0.1
QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is a zephyr?"}],
    "stream": False,
}
LONG = QUESTION | {"stream": True, "max_new_tokens": 1500, "min_new_tokens": 1500}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    directory = tmp_path_factory.mktemp("own")
    with TritonServer(COMMITTED.path, directory, free_ports()) as server:
        server.wait_until_ready(START_SECONDS)
        yield server


@pytest.fixture(scope="module")
def url(own: TritonServer) -> Iterator[str]:
    with serve_shim(own.grpc_address, health_check_seconds=CHECK_SECONDS) as url:
        wait_until_ready(url)
        yield url


def ask(url: str) -> httpx.Response:
    return httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT)


def readiness(url: str) -> int:
    return httpx.get(f"{url}/health/ready", timeout=TIMEOUT).status_code


def test_a_frozen_triton_is_unavailable_and_goes_on_where_it_was(
    url: str, own: TritonServer
) -> None:
    with httpx.stream("POST", f"{url}/predict", json=LONG, timeout=TIMEOUT) as running:
        text = running.iter_text()
        next(text)
        os.kill(own.pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + TIMEOUT
            while readiness(url) == 200:
                assert time.monotonic() < deadline
            assert ask(url).status_code == 503
        finally:
            os.kill(own.pid, signal.SIGCONT)
        for _ in text:
            pass
    wait_until_ready(url)
    assert ask(url).status_code == 200


@pytest.mark.parametrize(
    "model", ["tensorrt_llm", *extended(("preprocessing",), ("postprocessing",))]
)
def test_a_triton_that_has_lost_a_stage_is_unavailable_until_it_was_started_again(
    url: str, own: TritonServer, model: str
) -> None:
    with httpx.stream("POST", f"{url}/predict", json=LONG, timeout=TIMEOUT) as running:
        text = running.iter_text()
        next(text)
        os.kill(process_of(own.log_path.parent, model), signal.SIGKILL)
        refused = ask(url)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in text:
                pass
    time.sleep(5 * CHECK_SECONDS)
    assert readiness(url) == 503
    own.stop(at_once=True)
    own.start()
    own.wait_until_ready(START_SECONDS)
    wait_until_ready(url)
    assert ask(url).status_code == 200
