"""A client that leaves stops the engine."""

import re
import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from launcher.server import TritonServer

pytestmark = pytest.mark.server

ACTIVE = re.compile(r'^nv_trt_llm_request_metrics\{.*request_type="active".*\} (\d+)', re.MULTILINE)
LONG: dict[str, Any] = {
    "messages": [{"role": "user", "content": "What is a zephyr?"}],
    "max_new_tokens": 3500,
    "min_new_tokens": 3500,
    "return_full_text": False,
}


def active_requests(triton: TritonServer) -> int:
    match = ACTIVE.search(httpx.get(triton.metrics_url).text)
    assert match is not None
    return int(match[1])


def wait_for_active(triton: TritonServer, count: int, seconds: float) -> float:
    """Return how long it took the engine to run `count` requests."""
    started = time.monotonic()
    while active_requests(triton) != count:
        waited = time.monotonic() - started
        assert waited < seconds, f"the engine still runs {active_requests(triton)} requests"
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_leaving_a_stream_stops_the_engine_within_a_second(
    shim_url: str, triton: TritonServer, accept: str
) -> None:
    wait_for_active(triton, 0, 10)
    with httpx.stream(
        "POST",
        f"{shim_url}/predict",
        json={**LONG, "stream": True},
        headers={"accept": accept},
        timeout=60,
    ) as reply:
        assert reply.status_code == 200
        received = reply.iter_raw()  # kept: without it the connection is closed
        assert next(received)
        wait_for_active(triton, 1, 5)
    wait_for_active(triton, 0, 1)


@pytest.mark.parametrize(
    ("body", "accept"),
    [({"stream": False}, "*/*"), ({"stream": True}, "application/json")],
)
def test_leaving_a_plain_request_stops_the_engine_within_a_second(
    shim_url: str, triton: TritonServer, body: dict[str, Any], accept: str
) -> None:
    wait_for_active(triton, 0, 10)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{shim_url}/predict",
            json={**LONG, **body},
            headers={"accept": accept},
            timeout=httpx.Timeout(30, read=0.5),
        )
    wait_for_active(triton, 0, 1)


def test_who_stays_is_not_disturbed_by_who_leaves(shim_url: str, triton: TritonServer) -> None:
    short = {**LONG, "max_new_tokens": 100, "min_new_tokens": 100, "do_sample": False}
    alone = httpx.post(f"{shim_url}/predict", json=short, timeout=60).text
    with httpx.stream("POST", f"{shim_url}/predict", json=short, timeout=60) as stays:
        assert stays.status_code == 200
        kept = stays.iter_text()
        text = next(kept)
        with httpx.stream("POST", f"{shim_url}/predict", json=LONG, timeout=60) as leaves:
            next(leaves.iter_raw())
        text += "".join(kept)
    assert text == alone
    wait_for_active(triton, 0, 1)


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_several_sequences_stops_them_all(
    shim_url: str, triton: TritonServer, stream: bool
) -> None:
    wait_for_active(triton, 0, 10)
    body = {
        "model": "zephyr-7b-beta",
        "messages": LONG["messages"],
        "max_tokens": 3500,
        "min_new_tokens": 3500,
        "n": 3,
        "stream": stream,
    }
    with (
        suppress(httpx.ReadTimeout),
        httpx.stream(
            "POST",
            f"{shim_url}/v1/chat/completions",
            json=body,
            timeout=httpx.Timeout(30, read=0.5),
        ) as reply,
    ):
        received = reply.iter_raw()
        assert next(received)
        wait_for_active(triton, 3, 5)
    wait_for_active(triton, 0, 1)
