"""High and low priority through shim, ensemble and engine, more requests than the engine runs."""

import asyncio
import time
from statistics import median

import httpx
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from launcher.server import TritonServer
from support.triton_calls import Call, stream

pytestmark = pytest.mark.server

SLOTS = 16
TOKENS = 64
TIMEOUT = 120


async def seconds_to_first_token(
    client: httpx.AsyncClient, priority: float, tokens: int = TOKENS
) -> float:
    body = {
        "prompt": "The wind",
        "max_new_tokens": tokens,
        "min_new_tokens": tokens,
        "stream": True,
        "priority": priority,
    }
    begin = time.perf_counter()
    async with client.stream("POST", "/v1/models/mistral-7b:predict", json=body) as reply:
        assert reply.status_code == 200, await reply.aread()
        first = 0.0
        async for _ in reply.aiter_bytes():
            first = first or time.perf_counter() - begin
        return first


async def saturate(shim_url: str) -> tuple[list[float], list[float]]:
    """Return the times of 16 requests that came last of 80, and of the 48 before them."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=shim_url, timeout=TIMEOUT, limits=limits) as client:
        # They end one after the other, as in a service that has been full for long.
        running = [
            asyncio.create_task(seconds_to_first_token(client, 0.5, 4 * (number + 1)))
            for number in range(SLOTS)
        ]
        await asyncio.sleep(0.05)
        low = [asyncio.create_task(seconds_to_first_token(client, 0.2)) for _ in range(3 * SLOTS)]
        await asyncio.sleep(0.05)
        high = [asyncio.create_task(seconds_to_first_token(client, 0.9)) for _ in range(SLOTS)]
        await asyncio.gather(*running)
        return await asyncio.gather(*high), await asyncio.gather(*low)


def test_under_saturation_high_priority_waits_at_most_half_as_long(shim_url: str) -> None:
    high, low = asyncio.run(saturate(shim_url))
    assert median(high) <= median(low) / 2, (median(high), median(low))


def test_a_priority_out_of_range_is_refused_by_the_ensemble(triton: TritonServer) -> None:
    call = Call(
        "ensemble",
        {
            "text_input": np.array([["The wind"]], dtype=np.object_),
            "max_tokens": np.array([[1]], dtype=np.int32),
        },
        parameters={"request_priority": 1.5},
    )
    with pytest.raises(InferenceServerException, match=r"request_priority is 1\.5"):
        stream(triton, call)


def test_a_priority_may_come_as_json_to_the_generate_endpoint(triton: TritonServer) -> None:
    reply = httpx.post(
        f"{triton.http_url}/v2/models/ensemble/generate",
        json={"text_input": "The wind", "max_tokens": 4, "request_priority": 0.75},
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200, reply.text
    assert reply.json()["text_output"]
