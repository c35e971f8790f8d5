"""The one way from every route to Triton: limits before, measurements on the way."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from opentelemetry.trace import Tracer

from aeolus_client import (
    Completion,
    GenerationRequest,
    InvalidRequestError,
    TextChunk,
    gather,
)
from aeolus_contract.request_parameters import DEFAULT_PRIORITY
from shim.generation.admission import Admission
from shim.generation.replicas import Replicas
from shim.observation.context import current
from shim.observation.logs import FIELDS
from shim.observation.measurement import ModelMeasures
from shim.observation.metrics import Metrics
from shim.observation.tracing import trace_headers
from shim.settings import Settings

logger = logging.getLogger(__name__)


class ModelClient:
    """Runs the requests to one model, within the limits of the deployment.

    Every method raises a `client.errors.ServiceError` when it cannot do what it says.
    """

    def __init__(
        self,
        name: str,
        ensemble: str,
        settings: Settings,
        replicas: Replicas,
        metrics: Metrics,
        tracer: Tracer,
    ):
        """Take the catalog name of the model, the ensemble that runs it, and what is shared."""
        self._ensemble = ensemble
        self._max_prompt_characters = settings.max_prompt_characters
        self._logs_prompts = settings.log_prompts
        self._replicas = replicas
        self._measures = ModelMeasures(name, metrics, tracer)
        self._admission = Admission(
            settings.max_running,
            settings.max_waiting,
            metrics.running.labels(name),
            metrics.waiting.labels(name),
        )

    @property
    def is_ready(self) -> bool:
        """Whether a Triton serves the model."""
        return self._replicas.are_ready

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextChunk, None]:
        """Run a request and yield its text as it comes; leaving early stops the engine."""
        context = current()
        if context.request_id is not None:
            # An id that a client sends twice must not make two requests one.
            unique = f"{context.request_id}-{secrets.token_hex(8)}"
            request = replace(request, request_id=unique)
        with self._measures.of(context, request) as measurement:
            self._check_prompt(request)
            priority = DEFAULT_PRIORITY if request.priority is None else request.priority
            async with self._admission.place(context.deadline, priority):
                chunks = self._replicas.stream(
                    self._ensemble,
                    request,
                    _seconds_until(context.deadline),
                    trace_headers(measurement.span),
                )
                async with aclosing(chunks):
                    async for chunk in chunks:
                        measurement.see(chunk)
                        yield chunk

    async def complete(self, request: GenerationRequest) -> Completion:
        """Run a request to its end; cancelling the caller stops the engine."""
        return await gather(self.stream(request))

    async def engine(self) -> str:
        """Return the name of the engine that runs the model."""
        return await self._replicas.engine(self._ensemble)

    def _check_prompt(self, request: GenerationRequest) -> None:
        messages = request.messages or []
        characters = len(request.text_input or "") + sum(len(each["content"]) for each in messages)
        if characters > self._max_prompt_characters:
            raise InvalidRequestError(
                f"the prompt has {characters} characters; at most {self._max_prompt_characters} "
                "are read"
            )
        if self._logs_prompts:
            prompt = request.text_input if request.messages is None else messages
            logger.info("prompt", extra={FIELDS: {"prompt": prompt}})


def _seconds_until(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    return max(0.0, deadline - asyncio.get_running_loop().time())
