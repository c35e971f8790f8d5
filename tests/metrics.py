"""Triton's metrics as a test reads them."""

import re
import time
import urllib.request

from launcher.server import TritonServer


def active_requests(triton: TritonServer) -> int:
    """Requests that the engine runs or holds in its queue."""
    with urllib.request.urlopen(triton.metrics_url) as reply:
        text = reply.read().decode()
    found = re.search(r'nv_trt_llm_request_metrics\{[^}]*request_type="active"[^}]*\} (\d+)', text)
    assert found is not None, "the engine reports no metrics"
    return int(found[1])


def wait_for_active_requests(triton: TritonServer, count: int, seconds: float) -> int:
    """Wait until the engine has `count` requests; return how many it has at last."""
    deadline = time.monotonic() + seconds
    while active_requests(triton) != count and time.monotonic() < deadline:
        time.sleep(0.02)
    return active_requests(triton)
