"""Triton's metrics as a test reads them."""

import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.server import TritonServer

SECONDS = 120.0
"""More than the longest requests of the tests run, wherever that may be."""


def active_requests(triton: TritonServer) -> int:
    """Requests that the engine runs or holds in its queue."""
    return gauge(triton, "nv_trt_llm_request_metrics", "active")


def steps(triton: TritonServer) -> int:
    """Steps that the engine has made, each of one token for every request that runs."""
    return gauge(triton, "nv_trt_llm_general_metrics", "iteration_counter")


def gauge(triton: TritonServer, family: str, kind: str) -> int:
    """Return a value of the engine's, at most a tenth of a second old unless it is very busy."""
    with urllib.request.urlopen(triton.metrics_url) as reply:
        text = reply.read().decode()
    found = re.search(rf'^{family}\{{[^}}]*="{kind}"[^}}]*\}} (\S+)', text, re.MULTILINE)
    assert found is not None, f"the engine reports no {kind}"
    return int(float(found[1]))


@contextmanager
def stopped_before(triton: TritonServer, tokens: int) -> Iterator[None]:
    """Check that what begins inside leaves an idle engine well before `tokens` of a request.

    The engine's own steps tell, and no clock: how fast it is does not matter.
    """
    wait_for_active_requests(triton, 0)
    before = steps(triton)
    yield
    wait_for_active_requests(triton, 0)
    made = steps(triton) - before
    assert made < 0.9 * tokens, f"the engine went on for {made} steps"


def wait_for_active_requests(triton: TritonServer, count: int, seconds: float = SECONDS) -> None:
    """Wait until the engine has `count` requests; fails if it never does."""
    deadline = time.monotonic() + seconds
    while (active := active_requests(triton)) != count:
        assert time.monotonic() < deadline, f"the engine has {active} requests, not {count}"
        time.sleep(0.02)
