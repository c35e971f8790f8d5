"""Triton's metrics as a test reads them."""

import re
import time
import urllib.request

from launcher.server import TritonServer

SECONDS = 5.0
"""More than a busy machine needs, less than the longest requests of the tests run."""


def active_requests(triton: TritonServer) -> int:
    """Requests that the engine runs or holds in its queue."""
    with urllib.request.urlopen(triton.metrics_url) as reply:
        text = reply.read().decode()
    found = re.search(r'nv_trt_llm_request_metrics\{[^}]*request_type="active"[^}]*\} (\d+)', text)
    assert found is not None, "the engine reports no metrics"
    return int(found[1])


def wait_for_active_requests(triton: TritonServer, count: int, seconds: float = SECONDS) -> None:
    """Wait until the engine has `count` requests; fails if it never does."""
    deadline = time.monotonic() + seconds
    while (active := active_requests(triton)) != count:
        assert time.monotonic() < deadline, f"the engine has {active} requests, not {count}"
        time.sleep(0.02)
