"""What a load found: latencies, throughput and goodput."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aeolus_client.bench.load import Sample

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a request must keep to count for goodput, in milliseconds; `None` is no limit."""

    first_token_ms: float | None = None
    inter_token_ms: float | None = None
    end_to_end_ms: float | None = None

    def is_met(self, sample: Sample) -> bool:
        """Whether a request that ended well kept all of it."""
        return all(
            limit is None or (value is not None and 1000 * value <= limit)
            for limit, value in (
                (self.first_token_ms, first_token(sample)),
                (self.inter_token_ms, inter_token(sample)),
                (self.end_to_end_ms, end_to_end(sample)),
            )
        )


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution, in milliseconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of a run; rates are per second of the time it was measured."""

    seconds: float
    """From the first request to the last reply, or to the end of a load of given seconds."""
    requests: int
    """That ended well in that time."""
    failed: int
    errors: dict[str, int]
    """How often each kind of error came."""
    first_error: str | None
    requests_per_second: float
    goodput: float
    """Requests a second that met the objective."""
    prompt_tokens: int
    completion_tokens: int
    completion_tokens_per_second: float
    total_tokens_per_second: float
    first_token: Latency | None
    """From when a request was due to its first text."""
    inter_token: Latency | None
    """Per request, the time from its first text to its last by the tokens behind the first."""
    gap: Latency | None
    """Between the pieces of streams."""
    end_to_end: Latency | None

    def as_json(self) -> dict[str, Any]:
        """Return all figures under their names."""
        return asdict(self)


def first_token(sample: Sample) -> float | None:
    """Return the seconds to the first text; `None` for a reply that was not streamed."""
    return None if sample.first is None else sample.first - sample.due


def inter_token(sample: Sample) -> float | None:
    """Return the seconds a token; `None` for replies of one token or not streamed."""
    if sample.first is None or sample.last is None or sample.completion_tokens < 2:
        return None
    return (sample.last - sample.first) / (sample.completion_tokens - 1)


def end_to_end(sample: Sample) -> float:
    """Return the seconds to the end of the reply."""
    return sample.end - sample.due


def make_report(
    samples: Sequence[Sample], objective: Objective, seconds: float | None = None
) -> Report:
    """Sum a run up.

    Args:
        samples: of the requests that ended.
        objective: that goodput counts by.
        seconds: of a load that was to last so long: what ended later does not count as done.
    """
    end = max((each.end for each in samples), default=0.0)
    window = end if seconds is None else min(end, seconds)
    good = [each for each in samples if each.error is None]
    done = [each for each in good if each.end <= window]
    failures = [each.error for each in samples if each.error is not None]
    completion_tokens = sum(each.completion_tokens for each in done)
    prompt_tokens = sum(each.prompt_tokens for each in done)
    per_second = 1 / window if window else 0.0
    return Report(
        seconds=window,
        requests=len(done),
        failed=len(failures),
        errors=dict(Counter(each.partition(":")[0] for each in failures)),
        first_error=failures[0] if failures else None,
        requests_per_second=len(done) * per_second,
        goodput=sum(map(objective.is_met, done)) * per_second,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        completion_tokens_per_second=completion_tokens * per_second,
        total_tokens_per_second=(prompt_tokens + completion_tokens) * per_second,
        first_token=_latency(good, first_token),
        inter_token=_latency(good, inter_token),
        gap=_distribution([gap for each in good for gap in each.gaps]),
        end_to_end=_latency(good, end_to_end),
    )


def _latency(
    samples: Sequence[Sample], measure: Callable[[Sample], float | None]
) -> Latency | None:
    values = [measure(each) for each in samples]
    return _distribution([each for each in values if each is not None])


def _distribution(seconds: list[float]) -> Latency | None:
    if not seconds:
        return None
    milliseconds = 1000 * np.array(seconds)
    p50, p90, p95, p99 = (float(each) for each in np.percentile(milliseconds, PERCENTILES))
    return Latency(float(milliseconds.mean()), p50, p90, p95, p99, float(milliseconds.max()))
