"""The engine's state as TensorRT-LLM's backend reports it, so that dashboards fit both engines.

Families and labels: NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
custom_metrics_reporter/custom_metrics_reporter.cc.
"""

import os
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from engine_step.interface import EngineStatistics

REQUESTS = ("nv_trt_llm_request_metrics", "request_type")
MEMORY = ("nv_trt_llm_runtime_memory_metrics", "memory_type")
KV_CACHE = ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type")
BATCHER = ("nv_trt_llm_inflight_batcher_metrics", "inflight_batcher_specific_metric")
GENERAL = ("nv_trt_llm_general_metrics", "general_type")
RANKS = ("aeolus_engine_ranks", "state")
"""Of ours: the backend reports no ranks."""

# Family, label and label value of each gauge.
GAUGES: dict[tuple[str, str, str], Callable[[EngineStatistics], float]] = {
    (*REQUESTS, "active"): lambda now: now.active,
    (*REQUESTS, "max"): lambda now: now.max_requests,
    (*REQUESTS, "scheduled"): lambda now: now.scheduled,
    (*REQUESTS, "context"): lambda now: now.context,
    (*REQUESTS, "waiting"): lambda now: now.waiting,
    (*MEMORY, "cpu"): lambda _: _resident_bytes(),
    (*MEMORY, "gpu"): lambda now: now.gpu_bytes,
    (*MEMORY, "pinned"): lambda now: now.pinned_bytes,
    (*KV_CACHE, "max"): lambda now: now.kv_cache_blocks_max,
    (*KV_CACHE, "used"): lambda now: now.kv_cache_blocks_used,
    (*KV_CACHE, "free"): lambda now: now.kv_cache_blocks_max - now.kv_cache_blocks_used,
    (*KV_CACHE, "fraction"): lambda now: now.kv_cache_blocks_used / max(1, now.kv_cache_blocks_max),
    (*KV_CACHE, "reused"): lambda now: now.kv_cache_blocks_reused,
    (*KV_CACHE, "tokens_per"): lambda now: now.kv_cache_tokens_per_block,
    (*BATCHER, "generation_requests"): lambda now: now.scheduled - now.context,
    (*BATCHER, "total_context_tokens"): lambda now: now.context_tokens,
    (*BATCHER, "paused_requests"): lambda now: now.paused,
    (*BATCHER, "micro_batch_id"): lambda now: now.micro_batch,
    (*GENERAL, "iteration_counter"): lambda now: now.iterations,
    (*GENERAL, "timestamp"): lambda _: time.time_ns() // 1000,
    (*RANKS, "computing"): lambda now: now.ranks,
}
INPUT_LENGTH = ("nv_llm_input_token_len", "response_metric_type", "total_input_tokens")
OUTPUT_LENGTH = ("nv_llm_output_token_len", "response_metric_type", "total_output_tokens")
LENGTH_BOUNDS = (10.0, 50.0, 100.0, 500.0, 1000.0)


class Metric(Protocol):
    """A `pb_utils.Metric`."""

    def set(self, value: float) -> None:
        """Replace a gauge's value."""

    def observe(self, value: float) -> None:
        """Add to a histogram."""


class EngineMetrics:
    """The metrics of one engine."""

    def __init__(self, make_metric: Callable[[str, str, str, Sequence[float]], Metric]):
        """Make the metrics.

        Args:
            make_metric: is given family, label, label value, and the bounds of a histogram; for
                a gauge there are none.
        """
        self._gauges = {key: make_metric(*key, ()) for key in GAUGES}
        self._histograms = [
            make_metric(*key, LENGTH_BOUNDS) for key in (INPUT_LENGTH, OUTPUT_LENGTH)
        ]
        self._reported: EngineStatistics | None = None
        self._values: dict[tuple[str, str, str], float] = {}
        self._finished: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    def count_request(self, num_input_tokens: int, num_output_tokens: int) -> None:
        """Note a request that has ended, for the next `report`; from any thread."""
        self._finished.put((num_input_tokens, num_output_tokens))

    def report(self, statistics: EngineStatistics) -> None:
        """Send what has changed: each metric is a round trip to the server."""
        while not self._finished.empty():
            for histogram, length in zip(self._histograms, self._finished.get(), strict=True):
                histogram.observe(length)
        if statistics == self._reported:
            return
        self._reported = statistics
        for key, value_of in GAUGES.items():
            value = value_of(statistics)
            if value != self._values.get(key):
                self._gauges[key].set(value)
                self._values[key] = value


def _resident_bytes() -> int:
    """Return this process's memory; 0 where there is no /proc."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0
