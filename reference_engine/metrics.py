"""The engine's state as TensorRT-LLM's backend reports it, so that dashboards fit both engines.

Families and labels: NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
custom_metrics_reporter/custom_metrics_reporter.cc.
"""

import time
from collections.abc import Callable
from typing import Protocol

from reference_engine.interface import EngineStatistics

REQUESTS = ("nv_trt_llm_request_metrics", "request_type")
KV_CACHE = ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type")
BATCHER = ("nv_trt_llm_inflight_batcher_metrics", "inflight_batcher_specific_metric")
GENERAL = ("nv_trt_llm_general_metrics", "general_type")

# Family, label and label value of each gauge.
GAUGES: dict[tuple[str, str, str], Callable[[EngineStatistics], float]] = {
    (*REQUESTS, "active"): lambda now: now.active,
    (*REQUESTS, "max"): lambda now: now.max_requests,
    (*REQUESTS, "scheduled"): lambda now: now.scheduled,
    (*REQUESTS, "context"): lambda now: now.context,
    (*REQUESTS, "waiting"): lambda now: now.waiting,
    (*KV_CACHE, "max"): lambda now: now.kv_cache_blocks_max,
    (*KV_CACHE, "used"): lambda now: now.kv_cache_blocks_used,
    (*KV_CACHE, "free"): lambda now: now.kv_cache_blocks_max - now.kv_cache_blocks_used,
    (*KV_CACHE, "fraction"): lambda now: now.kv_cache_blocks_used / now.kv_cache_blocks_max,
    (*KV_CACHE, "reused"): lambda now: now.kv_cache_blocks_reused,
    (*KV_CACHE, "tokens_per"): lambda now: now.kv_cache_tokens_per_block,
    (*BATCHER, "generation_requests"): lambda now: now.scheduled - now.context,
    (*GENERAL, "iteration_counter"): lambda now: now.iterations,
    (*GENERAL, "timestamp"): lambda _: time.time_ns() // 1000,
}


class Gauge(Protocol):
    """A `pb_utils.Metric` of kind GAUGE."""

    def set(self, value: float) -> None:
        """Replace the value."""


class EngineMetrics:
    """The gauges of one engine."""

    def __init__(self, make_gauge: Callable[[str, str, str], Gauge]):
        """Make the gauges; `make_gauge` is given family, label and label value."""
        self._gauges = {key: make_gauge(*key) for key in GAUGES}
        self._reported: EngineStatistics | None = None
        self._values: dict[tuple[str, str, str], float] = {}

    def report(self, statistics: EngineStatistics) -> None:
        """Set the gauges that have changed: each is a round trip to the server."""
        if statistics == self._reported:
            return
        self._reported = statistics
        for key, value_of in GAUGES.items():
            value = value_of(statistics)
            if value != self._values.get(key):
                self._gauges[key].set(value)
                self._values[key] = value
