"""Metrics of the servers as a test reads them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from launcher.server import TritonServer
from scripts.bench.leaks import ENGINE_REQUESTS, read_metrics

SECONDS = 120.0
"""More than the longest requests of the tests run, wherever that may be."""


def metric(url: str, name: str, **labels: str) -> float:
    """The one value of that name at `url` that has these labels, and maybe others."""
    (value,) = (
        sample.value
        for sample in read_metrics(url)
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return value


def active_requests(triton: TritonServer) -> int:
    """Requests that the engine runs or holds in its queue."""
    return int(metric(triton.metrics_url, ENGINE_REQUESTS, request_type="active"))


def steps(triton: TritonServer) -> int:
    """Steps that the engine has made, each of one token for every request that runs."""
    family = "nv_trt_llm_general_metrics"
    return int(metric(triton.metrics_url, family, general_type="iteration_counter"))


def wait_for_steps(triton: TritonServer, count: int) -> None:
    """Wait until the engine has made `count` steps; fails if it never does."""
    deadline = time.monotonic() + SECONDS
    while (made := steps(triton)) < count:
        assert time.monotonic() < deadline, f"the engine has made {made} steps, not {count}"
        time.sleep(0.02)


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
