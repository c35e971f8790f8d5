"""Iteration statistics of the executor as the engine step reports them."""

from typing import Any

from engine_step.interface import EngineStatistics


def no_statistics(max_requests: int, ranks: int) -> EngineStatistics:
    """Return those of an engine that has not made a step."""
    return EngineStatistics(
        iterations=0,
        max_requests=max_requests,
        scheduled=0,
        context=0,
        context_tokens=0,
        waiting=0,
        kv_cache_blocks_used=0,
        kv_cache_blocks_max=0,
        kv_cache_blocks_reused=0,
        kv_cache_tokens_per_block=0,
        ranks=ranks,
    )


def engine_statistics(stats: Any, ranks: int) -> EngineStatistics:
    """Translate an `IterationStats`; waiting are those in the executor's queue, too."""
    batch, cache = stats.inflight_batching_stats, stats.kv_cache_stats
    scheduled = batch.num_scheduled_requests if batch else 0
    unscheduled = max(0, stats.num_active_requests - scheduled)
    return EngineStatistics(
        iterations=stats.iter,
        max_requests=stats.max_num_active_requests,
        scheduled=scheduled,
        context=batch.num_context_requests if batch else 0,
        context_tokens=batch.num_ctx_tokens if batch else 0,
        waiting=stats.num_queued_requests + unscheduled,
        kv_cache_blocks_used=cache.used_num_blocks if cache else 0,
        kv_cache_blocks_max=cache.max_num_blocks if cache else 0,
        kv_cache_blocks_reused=cache.reused_blocks if cache else 0,
        kv_cache_tokens_per_block=cache.tokens_per_block if cache else 0,
        paused=batch.num_paused_requests if batch else 0,
        micro_batch=batch.micro_batch_id if batch else 0,
        gpu_bytes=stats.gpu_mem_usage,
        pinned_bytes=stats.pinned_mem_usage,
        ranks=ranks,
    )
