"""The metrics of Triton and the shim, and what they tell of requests that should be over."""

import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

SETTLE_SECONDS = 10.0
ENGINE_REQUESTS = "nv_trt_llm_request_metrics"
UNDER_WAY: dict[str, dict[str, str]] = {
    "aeolus_requests_running": {},
    "aeolus_requests_waiting": {},
    "aeolus_postprocessing_streams": {},
    "nv_inference_pending_request_count": {},
    ENGINE_REQUESTS: {"request_type": "active"},
    "nv_trt_llm_kv_cache_block_metrics": {"kv_cache_block_type": "used"},
}
"""Gauges, with the labels of theirs that matter, that are 0 where no request is under way."""


def read_metrics(url: str) -> list[Sample]:
    """Return the values at a URL in Prometheus' text format; a counter's name ends in `_total`."""
    with urllib.request.urlopen(url) as reply:  # noqa: S310 - a URL of ours
        text = reply.read().decode()
    return [sample for each in text_string_to_metric_families(text) for sample in each.samples]


def leaked(*urls: str) -> dict[str, float]:
    """Return what of requests is still there when they had time to end.

    Args:
        urls: those of Triton's metrics, and of the shim's, if there is one.

    Returns:
        The gauges, with their labels, that are not 0.

    Raises:
        RuntimeError: the engine reports no metrics.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while (found := _under_way(urls)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _under_way(urls: tuple[str, ...]) -> dict[str, float]:
    samples = [sample for url in urls for sample in read_metrics(url)]
    if all(sample.name != ENGINE_REQUESTS for sample in samples):
        raise RuntimeError(f"the engine reports no metrics at {', '.join(urls)}")
    return {
        f"{sample.name}{sample.labels}": sample.value
        for sample in samples
        if sample.value
        and sample.name in UNDER_WAY
        and UNDER_WAY[sample.name].items() <= sample.labels.items()
    }
