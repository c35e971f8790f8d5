"""What one generation tells metrics, trace and the log line of its request."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from aeolus_client import (
    GenerationRequest,
    ServiceError,
    TextChunk,
)
from shim.errors.outcomes import outcome_of
from shim.observation.context import RequestContext
from shim.observation.metrics import Metrics
from shim.observation.tracing import child_context


class ModelMeasures:
    """The metrics of one model, and the spans of its generations."""

    def __init__(self, model: str, metrics: Metrics, tracer: Tracer):
        self._model = model
        self._tracer = tracer
        self._cancellations = metrics.cancellations.labels(model)
        self._prompt_tokens = metrics.prompt_tokens.labels(model)
        self.completion_tokens = metrics.completion_tokens.labels(model)
        self.first_token = metrics.first_token.labels(model)
        self.inter_token = metrics.inter_token.labels(model)

    @contextmanager
    def of(self, context: RequestContext, request: GenerationRequest) -> Iterator["Measurement"]:
        """Measure one generation of a request, however it ends."""
        context.model = self._model
        span = self._tracer.start_span("generate", child_context(context.span), SpanKind.CLIENT)
        measurement = Measurement(self, context, request.stream, span)
        try:
            yield measurement
        except ServiceError as error:
            context.refusal = outcome_of(error).refusal
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            if not measurement.is_over:
                self._cancellations.inc()
            raise
        finally:
            self._end(context, measurement)

    def _end(self, context: RequestContext, measurement: "Measurement") -> None:
        last = measurement.last
        if last is not None:
            self._prompt_tokens.inc(last.prompt_tokens)
            context.prompt_tokens = last.prompt_tokens
            context.completion_tokens += last.completion_tokens
            context.finish_reason = last.finish_reason or ""
            measurement.span.set_attributes(
                {
                    "gen_ai.request.model": self._model,
                    "gen_ai.usage.input_tokens": last.prompt_tokens,
                    "gen_ai.usage.output_tokens": last.completion_tokens,
                    "gen_ai.response.finish_reasons": [context.finish_reason],
                }
            )
        measurement.span.end()


class Measurement:
    """One generation on its way."""

    def __init__(
        self, measures: ModelMeasures, context: RequestContext, is_streamed: bool, span: Span
    ):
        self.span = span
        self.last: TextChunk | None = None
        self._measures = measures
        self._context = context
        self._is_streamed = is_streamed
        self._seen_at = time.perf_counter()

    @property
    def is_over(self) -> bool:
        """Whether the last chunk was seen."""
        return self.last is not None and self.last.finish_reason is not None

    def see(self, chunk: TextChunk) -> None:
        """Note a chunk, when it comes."""
        if self._is_streamed:
            now = time.perf_counter()
            if self.last is None:
                self._context.first_token_seconds = now - self._seen_at
                self._measures.first_token.observe(now - self._seen_at)
            else:
                self._measures.inter_token.observe(now - self._seen_at)
            self._seen_at = now
        seen = 0 if self.last is None else self.last.completion_tokens
        self._measures.completion_tokens.inc(chunk.completion_tokens - seen)
        self.last = chunk
