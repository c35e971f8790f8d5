"""Several Tritons: one is enough, and one that comes back is used again."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.ports import free_ports
from launcher.server import TritonServer
from scripts.bench.leaks import read_metrics
from support.serving import serve_shim, shim_server, wait_until_ready

pytestmark = pytest.mark.server

TIMEOUT = 60
QUESTION: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is a zephyr?"}],
    "stream": False,
    "do_sample": False,
}
LONG = QUESTION | {"stream": True, "max_new_tokens": 2000, "min_new_tokens": 2000}


def healthy(url: str) -> dict[str, float]:
    return {
        each.labels["address"]: each.value
        for each in read_metrics(f"{url}/metrics")
        if each.name == "aeolus_triton_healthy"
    }


def test_one_triton_of_two_is_enough_and_the_other_one_may_come_back(
    triton: TritonServer, tmp_path: Path
) -> None:
    ports = free_ports()
    other = f"127.0.0.1:{ports.grpc}"
    with serve_shim(f"{other},{triton.grpc_address}") as url:
        wait_for_health(url, {other: 0, triton.grpc_address: 1})
        assert httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200
        with TritonServer(COMMITTED.path, tmp_path, ports) as second:
            second.wait_until_ready(300)
            wait_for_health(url, {other: 1, triton.grpc_address: 1})
            with (
                httpx.stream("POST", f"{url}/predict", json=LONG, timeout=TIMEOUT) as one,
                httpx.stream("POST", f"{url}/predict", json=LONG, timeout=TIMEOUT) as two,
            ):
                texts = [one.iter_text(), two.iter_text()]
                for each in texts:
                    next(each)
                os.kill(second.pid, signal.SIGKILL)
                broken = [is_broken(each) for each in texts]
                assert sorted(broken) == [False, True]  # the requests were shared out
            for _ in range(3):
                assert (
                    httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT).status_code == 200
                )
            wait_for_health(url, {other: 0, triton.grpc_address: 1})
            assert httpx.get(f"{url}/health/ready", timeout=TIMEOUT).status_code == 200


def is_broken(text: Any) -> bool:
    try:
        list(text)
    except httpx.RemoteProtocolError:
        return True
    return False


def wait_for_health(url: str, expected: dict[str, float]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while (found := healthy(url)) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_drain_lets_finish_what_runs_and_takes_nothing_new(triton: TritonServer) -> None:
    with shim_server(triton.grpc_address, drain_seconds=300) as (server, url):
        wait_until_ready(url)
        with httpx.stream(
            "POST",
            f"{url}/predict",
            json=LONG,
            headers={"accept": "text/event-stream"},
            timeout=TIMEOUT,
        ) as running:
            events = running.iter_lines()
            next(events)
            server.handle_exit(signal.SIGTERM, None)
            assert httpx.get(f"{url}/health/ready", timeout=TIMEOUT).status_code == 503
            assert httpx.get(f"{url}/health/live", timeout=TIMEOUT).status_code == 200
            refused = httpx.post(f"{url}/predict", json=QUESTION, timeout=TIMEOUT)
            assert refused.status_code == 503
            assert refused.headers["retry-after"]
            last = [line for line in events if line][-1]
        assert json.loads(last.removeprefix("data: "))["usage"]["completion_tokens"] == 2000
        deadline = time.monotonic() + TIMEOUT
        while is_listening(url):
            assert time.monotonic() < deadline, "the server has not ended"
            time.sleep(0.05)


def is_listening(url: str) -> bool:
    try:
        httpx.get(f"{url}/health/live", timeout=TIMEOUT)
    except httpx.ConnectError:
        return False
    except httpx.TransportError:
        return True  # it listened, and ended before it answered
    return True


def test_a_drain_ends_at_its_limit_in_each_routes_form(triton: TritonServer) -> None:
    endless = LONG | {"max_new_tokens": 4000, "min_new_tokens": 4000}
    openai = {"model": "mistral-7b", "prompt": "A zephyr is", "stream": True}
    openai |= {"max_tokens": 4000, "min_new_tokens": 4000}
    with shim_server(triton.grpc_address, drain_seconds=0.3) as (server, url):
        wait_until_ready(url)
        with (
            httpx.stream("POST", f"{url}/predict", json=endless, timeout=TIMEOUT) as raw,
            httpx.stream(
                "POST",
                f"{url}/predict",
                json=endless,
                headers={"accept": "text/event-stream"},
                timeout=TIMEOUT,
            ) as events,
            httpx.stream("POST", f"{url}/v1/completions", json=openai, timeout=TIMEOUT) as openais,
        ):
            texts = [each.iter_text() for each in (raw, events, openais)]
            for each in texts:
                next(each)
            server.handle_exit(signal.SIGTERM, None)
            assert is_broken(texts[0])
            for text in texts[1:]:
                last = "".join(text).strip().split("\n\n")[-1]
                assert "The server is shutting down" in last
                assert "[DONE]" not in last
