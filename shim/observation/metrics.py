"""Prometheus metrics of the shim; Triton has its own."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# They tell when each series began, which nothing reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
GAP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
DURATION_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """The metrics of one application; labels are routes, catalog names and words of ours."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "aeolus_requests",
            "HTTP requests that were answered.",
            ["route", "model", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "aeolus_request_seconds",
            "Duration of a request, from its head to the end of its reply.",
            ["route"],
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self.running = Gauge(
            "aeolus_requests_running",
            "Generations running on Triton.",
            ["model"],
            registry=self.registry,
        )
        self.waiting = Gauge(
            "aeolus_requests_waiting",
            "Generations queued for Triton.",
            ["model"],
            registry=self.registry,
        )
        self.first_token = Histogram(
            "aeolus_time_to_first_token_seconds",
            "Time to the first text of a stream, queueing included.",
            ["model"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.inter_token = Histogram(
            "aeolus_inter_token_seconds",
            "Time between the texts of a stream.",
            ["model"],
            buckets=GAP_BUCKETS,
            registry=self.registry,
        )
        self.prompt_tokens = Counter(
            "aeolus_prompt_tokens", "Tokens of prompts.", ["model"], registry=self.registry
        )
        self.completion_tokens = Counter(
            "aeolus_completion_tokens", "Generated tokens.", ["model"], registry=self.registry
        )
        self.cancellations = Counter(
            "aeolus_cancellations",
            "Generations cancelled because the client left.",
            ["model"],
            registry=self.registry,
        )
        self.refusals = Counter(
            "aeolus_refusals",
            "Requests refused, or stopped at their deadline, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.triton_healthy = Gauge(
            "aeolus_triton_healthy",
            "Whether a Triton is ready to serve every model.",
            ["address"],
            registry=self.registry,
        )
