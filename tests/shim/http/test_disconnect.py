"""A client that leaves stops the engine."""

from typing import Any

import httpx
import pytest

from launcher.server import TritonServer
from support.asking import LONG, TOKENS
from support.metrics import stopped_before, wait_for_active_requests

pytestmark = pytest.mark.server


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream"])
def test_leaving_a_stream_stops_the_engine(
    shim_url: str, triton: TritonServer, accept: str
) -> None:
    with (
        stopped_before(triton, TOKENS),
        httpx.stream(
            "POST",
            f"{shim_url}/predict",
            json={**LONG, "stream": True},
            headers={"accept": accept},
            timeout=60,
        ) as reply,
    ):
        assert reply.status_code == 200
        received = reply.iter_raw()  # kept: without it the connection is closed
        assert next(received)
        wait_for_active_requests(triton, 1)


@pytest.mark.parametrize(
    ("body", "accept"),
    [({"stream": False}, "*/*"), ({"stream": True}, "application/json")],
)
def test_leaving_a_plain_request_stops_the_engine(
    shim_url: str, triton: TritonServer, body: dict[str, Any], accept: str
) -> None:
    with stopped_before(triton, TOKENS), pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{shim_url}/predict",
            json={**LONG, **body},
            headers={"accept": accept},
            timeout=httpx.Timeout(60, read=0.5),
        )


def test_who_stays_is_not_disturbed_by_who_leaves(shim_url: str, triton: TritonServer) -> None:
    short = {**LONG, "max_new_tokens": 100, "min_new_tokens": 100, "do_sample": False}
    alone = httpx.post(f"{shim_url}/predict", json=short, timeout=60).text
    with (
        stopped_before(triton, TOKENS),
        httpx.stream("POST", f"{shim_url}/predict", json=short, timeout=60) as stays,
    ):
        assert stays.status_code == 200
        kept = stays.iter_text()
        text = next(kept)
        with httpx.stream("POST", f"{shim_url}/predict", json=LONG, timeout=60) as leaves:
            next(leaves.iter_raw())
        text += "".join(kept)
    assert text == alone


THREE = {
    "model": "zephyr-7b-beta",
    "messages": LONG["messages"],
    "max_tokens": TOKENS,
    "min_new_tokens": TOKENS,
    "n": 3,
}


def test_leaving_several_streams_stops_them_all(shim_url: str, triton: TritonServer) -> None:
    with (
        stopped_before(triton, TOKENS),
        httpx.stream(
            "POST", f"{shim_url}/v1/chat/completions", json={**THREE, "stream": True}, timeout=60
        ) as reply,
    ):
        received = reply.iter_raw()
        assert next(received)
        wait_for_active_requests(triton, 3)


def test_leaving_several_plain_sequences_stops_them_all(
    shim_url: str, triton: TritonServer
) -> None:
    with stopped_before(triton, TOKENS), pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{shim_url}/v1/chat/completions",
            json=THREE,
            timeout=httpx.Timeout(60, read=0.5),
        )
