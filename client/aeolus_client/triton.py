"""An asyncio client of the ensemble over Triton's gRPC stream."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from aeolus_client.errors import (
    DeadlineExceededError,
    GenerationFailedError,
    ServerUnavailableError,
    ServiceError,
)
from aeolus_client.generation import Completion, FinishReason, GenerationRequest, TextChunk
from aeolus_client.reply import Reply
from aeolus_client.responses import ResponseBuffer
from aeolus_client.status import error_from_status
from aeolus_client.tensors import (
    input_tensors,
    request_parameters,
    stop_tensors,
)

logger = logging.getLogger(__name__)

FIRST_STOP_PERIOD_SECONDS = 0.025
STOP_SECONDS = 10.0
READY_TIMEOUT_SECONDS = 5.0
MAX_ROUND_SECONDS = 0.02
MAX_MESSAGE_BYTES = 2**31 - 1
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # gRPC's own pause grows to two minutes while a server is down, and outlasts its return.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 200),
]


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the server's own configuration says of an ensemble."""

    engine_model: str
    engine: str
    max_seq_len: int
    """Most tokens of prompt and reply together."""


class TritonClient:
    """Sends generation requests to one ensemble; one object serves any number of tasks.

    Every method raises a `client.errors.ServiceError` when it cannot do what it says.
    """

    def __init__(
        self, address: str, model: str = "ensemble", *, round_seconds_a_stream: float = 0.0
    ):
        """Connect on first use.

        Args:
            address: `host:port` of Triton's gRPC service.
            model: name of the ensemble.
            round_seconds_a_stream: a stream's chunks are at least this long apart for each stream
                that runs, and what comes meanwhile is joined; but never longer than
                `MAX_ROUND_SECONDS`, and neither the first nor the last waits.
        """
        self._model = model
        self._round_seconds_a_stream = round_seconds_a_stream
        self._triton = triton.InferenceServerClient(address, channel_args=CHANNEL_OPTIONS)
        self._deployment: asyncio.Task[Deployment] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._streams: set[ResponseBuffer] = set()
        self._end: ServiceError | None = None

    async def stream(
        self,
        request: GenerationRequest,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine is stopped, no task cancelled
        headers: dict[str, str] | None = None,
    ) -> AsyncGenerator[TextChunk, None]:
        """Run a request and yield its text as it comes; the last chunk has a finish reason.

        Leaving early - closing the generator, cancelling the task that iterates it - stops the
        engine, which Triton by itself does not when a client leaves an ensemble.

        Args:
            request: what to generate.
            timeout: seconds after which it ends in a `DeadlineExceededError`, the engine stopped.
            headers: gRPC metadata of the call, such as a `traceparent`.
        """
        deployment = await self._deployment_of_model()
        if self._end is not None:
            raise self._end
        responses = ResponseBuffer(self._infer(request, headers), self._round_seconds)
        self._streams.add(responses)
        timer = (
            None
            if timeout is None
            else asyncio.get_running_loop().call_later(
                timeout, responses.fail, DeadlineExceededError(f"not done after {timeout:g} s")
            )
        )
        reply = Reply(request, deployment.max_seq_len)
        try:
            async for response in responses:
                yield reply.chunk_of(response)
                if reply.is_complete and not response.is_final:
                    return  # at a stop string, which the engine does not know as such
            if not reply.is_complete:
                raise ServerUnavailableError(
                    "Triton ended the stream before the reply was complete"
                )
        finally:
            self._streams.discard(responses)
            if timer:
                timer.cancel()
            if not responses.are_over:
                self._stop_soon(request.request_id, deployment.engine_model, responses)

    async def complete(self, request: GenerationRequest) -> Completion:
        """Run a request to its end; cancelling the caller stops the engine."""
        return await gather(self.stream(request))

    async def engine(self) -> str:
        """Return the name of the engine behind the ensemble, as preprocessing knows it."""
        return (await self._deployment_of_model()).engine

    async def context_length(self) -> int:
        """Return how many tokens prompt and reply together may have."""
        return (await self._deployment_of_model()).max_seq_len

    async def is_ready(self) -> bool:
        """Whether the ensemble and all its steps are loaded and the server can be reached."""
        try:
            return bool(
                await self._triton.is_model_ready(self._model, client_timeout=READY_TIMEOUT_SECONDS)
            )
        except InferenceServerException:
            return False

    def end_streams(self, error: ServiceError) -> None:
        """End in `error` every stream that runs, its engine stopped, and every one to come."""
        self._end = error
        self.fail_streams(error)

    def fail_streams(self, error: ServiceError) -> None:
        """End in `error` every stream that runs."""
        for responses in self._streams:
            responses.fail(error)

    async def close(self) -> None:
        """Wait for stops under way, then disconnect."""
        await asyncio.gather(*self._stops)
        await self._triton.close()

    def _round_seconds(self) -> float:
        return min(MAX_ROUND_SECONDS, len(self._streams) * self._round_seconds_a_stream)

    def _infer(self, request: GenerationRequest, headers: dict[str, str] | None) -> Any:
        # tritonclient's iterator has no type.
        return self._call(
            self._model,
            input_tensors(request),
            request.request_id,
            request_parameters(request),
            headers,
        )

    def _call(
        self,
        model: str,
        inputs: list[triton.InferInput],
        request_id: str,
        parameters: dict[str, str | bool | float] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        async def one_request() -> AsyncGenerator[dict[str, Any], None]:
            yield {
                "model_name": model,
                "inputs": inputs,
                "request_id": request_id,
                "parameters": parameters,
            }

        return self._triton.stream_infer(one_request(), headers=headers)

    def _stop_soon(self, request_id: str, engine_model: str, responses: ResponseBuffer) -> None:
        """Stop the request in a task of its own: whoever left is in no state to wait for it."""
        task = asyncio.create_task(
            self._stop(request_id, engine_model, responses), name=f"stop request {request_id}"
        )
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _stop(self, request_id: str, engine_model: str, responses: ResponseBuffer) -> None:
        """Send stops to the engine until the request's final response has come.

        A stop that overtakes its request on the way to the engine is lost, so it is sent again,
        first soon, then ever less often. The call itself is not cancelled: Triton 2.51 would never
        finish its ensemble request.
        """
        left_at = time.perf_counter()
        period = FIRST_STOP_PERIOD_SECONDS
        is_sent = False
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while not responses.are_over:
                    is_sent = True
                    async for _, error in self._call(engine_model, stop_tensors(), request_id):
                        if error is not None:
                            raise error
                    await responses.wait_until_over(period)
                    period *= 2
        except (InferenceServerException, grpc.aio.AioRpcError, TimeoutError) as error:
            logger.warning(
                "request %s cannot be stopped by model %s: %r", request_id, engine_model, error
            )
            responses.abandon()
            return
        if is_sent:
            milliseconds = 1000 * (time.perf_counter() - left_at)
            logger.info("request %s was stopped in %.1f ms", request_id, milliseconds)

    async def _deployment_of_model(self) -> Deployment:
        """Return what is read once, however many requests ask for it at the same time."""
        reading = self._deployment
        if reading is None or (reading.done() and reading.exception() is not None):
            reading = self._deployment = asyncio.create_task(
                self._read_deployment(), name=f"read the configuration of {self._model}"
            )
        if not reading.done():
            await asyncio.wait({reading})
        return reading.result()

    async def _read_deployment(self) -> Deployment:
        """Read what replies are cut by, and where a stop must go."""
        try:
            ensemble = await self._config(self._model)
            steps = {
                step.model_name: await self._config(step.model_name)
                for step in ensemble.ensemble_scheduling.step
            }
        except InferenceServerException as error:
            raise _error_from_exception(error) from error
        engine_model = ensemble.parameters["engine_step"].string_value or _step_with_stop(steps)
        parameters = _parameters_of_preprocessing(steps)
        return Deployment(
            engine_model=engine_model,
            engine=parameters["engine"].string_value,
            max_seq_len=int(parameters["max_seq_len"].string_value or sys.maxsize),
        )

    async def _config(self, model: str) -> Any:
        return (
            await self._triton.get_model_config(model, client_timeout=READY_TIMEOUT_SECONDS)
        ).config


async def gather(stream: AsyncGenerator[TextChunk, None]) -> Completion:
    """Read a stream to its end and close it; returns the whole reply."""
    async with aclosing(stream):
        chunks = [chunk async for chunk in stream]
    last = chunks[-1]
    return Completion(
        text="".join(chunk.text for chunk in chunks),
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
        finish_reason=cast(FinishReason, last.finish_reason),  # a stream raises without one
        output_ids=[token for chunk in chunks for token in chunk.output_ids],
        log_probs=[value for chunk in chunks for value in chunk.log_probs],
        token_texts=[text for chunk in chunks for text in chunk.token_texts],
        top=[top for chunk in chunks for top in chunk.top],
        prompt=next((chunk.prompt for chunk in chunks if chunk.prompt is not None), None),
        other_beams=[beam for chunk in chunks for beam in chunk.other_beams],
    )


def _step_with_stop(steps: Mapping[str, Any]) -> str:
    """Return the step that takes a stop: the engine, in an ensemble that does not name it.

    Raises:
        GenerationFailedError: no step does.
    """
    for name, config in steps.items():
        if any(tensor.name == "stop" for tensor in config.input):
            return name
    raise GenerationFailedError(
        f"no step of the ensemble takes the input 'stop': {', '.join(steps) or 'it has none'}"
    )


def _parameters_of_preprocessing(steps: Mapping[str, Any]) -> Any:
    """Return the parameters of the step that knows the engine's limits.

    Raises:
        GenerationFailedError: no step does.
    """
    for config in steps.values():
        if "engine" in config.parameters and "max_seq_len" in config.parameters:
            return config.parameters
    raise GenerationFailedError(
        "no step of the ensemble has the parameters engine and max_seq_len: "
        f"{', '.join(steps) or 'it has none'}"
    )


def _error_from_exception(error: InferenceServerException) -> ServiceError:
    code = grpc.StatusCode[error.status().removeprefix("StatusCode.")]
    return error_from_status(code, error.message())
