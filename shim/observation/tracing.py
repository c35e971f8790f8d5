"""OpenTelemetry: spans of requests and of what Triton does for them, in the caller's trace."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, Span, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

propagator = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans, and sends them to a collector if there is one.

    Also the spans that are not sent keep the trace that a caller is in.
    """

    def __init__(self, otlp_endpoint: str | None):
        self._provider: TracerProvider | None = None
        self.tracer: Tracer = NoOpTracer()
        if otlp_endpoint is not None:
            self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "aeolus"}))
            exporter = OTLPSpanExporter(endpoint=otlp_endpoint)
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self.tracer = self._provider.get_tracer("aeolus")

    def close(self) -> None:
        """Send what was not yet sent."""
        if self._provider is not None:
            self._provider.shutdown()


def parent_of(headers: Mapping[str, str]) -> Context:
    """Return the trace that the headers `traceparent` and `tracestate` name, if they do."""
    return propagator.extract(headers, Context())


def child_context(span: Span) -> Context:
    """Return the context in which children of `span` are started."""
    return set_span_in_context(span, Context())


def trace_headers(span: Span) -> dict[str, str]:
    """Return the headers that put the callee into the trace of `span`."""
    headers: dict[str, str] = {}
    propagator.inject(headers, child_context(span))
    return headers
