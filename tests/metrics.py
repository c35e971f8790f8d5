"""Metrics of the servers as a test reads them."""

import time

from launcher.metrics import ENGINE_REQUESTS, read_metrics
from launcher.server import TritonServer

SECONDS = 5.0
"""More than a busy machine needs, less than the longest requests of the tests run."""


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


def wait_for_active_requests(triton: TritonServer, count: int, seconds: float = SECONDS) -> None:
    """Wait until the engine has `count` requests; fails if it never does."""
    deadline = time.monotonic() + seconds
    while (active := active_requests(triton)) != count:
        assert time.monotonic() < deadline, f"the engine has {active} requests, not {count}"
        time.sleep(0.02)
