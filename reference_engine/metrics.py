"""Request counts as TensorRT-LLM's backend reports them, so that dashboards fit both engines.

Family and labels: NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
custom_metrics_reporter/custom_metrics_reporter.cc.
"""

from collections.abc import Callable
from typing import Protocol

from reference_engine.interface import EngineStatistics

REQUEST_FAMILY = "nv_trt_llm_request_metrics"
KV_CACHE_FAMILY = "nv_trt_llm_kv_cache_block_metrics"


class Gauge(Protocol):
    """A `pb_utils.Metric` of kind GAUGE."""

    def set(self, value: float) -> None:
        """Replace the value."""


class EngineMetrics:
    """The gauges of one engine."""

    def __init__(self, make_gauge: Callable[[str, str, str], Gauge]):
        """Make the gauges; `make_gauge` is given family, label and label value."""
        self._reported: EngineStatistics | None = None
        self._requests = {
            kind: make_gauge(REQUEST_FAMILY, "request_type", kind)
            for kind in ("active", "max", "scheduled", "waiting")
        }
        self._kv_cache = {
            kind: make_gauge(KV_CACHE_FAMILY, "kv_cache_block_type", kind)
            for kind in ("max", "used", "free", "tokens_per", "reused")
        }

    def report(self, statistics: EngineStatistics) -> None:
        """Set every gauge.

        Nothing is done where nothing changed: each gauge is a round trip to the server.
        """
        if statistics == self._reported:
            return
        self._reported = statistics
        self._requests["active"].set(statistics.active)
        self._requests["max"].set(statistics.max_requests)
        self._requests["scheduled"].set(statistics.scheduled)
        self._requests["waiting"].set(statistics.waiting)
        used, limit = statistics.kv_cache_blocks_used, statistics.kv_cache_blocks_max
        self._kv_cache["max"].set(limit)
        self._kv_cache["used"].set(used)
        self._kv_cache["free"].set(limit - used)
        self._kv_cache["tokens_per"].set(statistics.kv_cache_tokens_per_block)
        self._kv_cache["reused"].set(statistics.kv_cache_blocks_reused)
