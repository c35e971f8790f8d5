"""An asyncio client of the ensemble over Triton's gRPC stream."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from aeolus_client.errors import DeadlineExceededError, ServerUnavailableError, ServiceError
from aeolus_client.generation import Completion, FinishReason, GenerationRequest, TextChunk
from aeolus_client.responses import Responses
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

    def __init__(self, address: str, model: str = "ensemble"):
        """Connect on first use.

        Args:
            address: `host:port` of Triton's gRPC service.
            model: name of the ensemble.
        """
        self._model = model
        self._triton = triton.InferenceServerClient(address, channel_args=CHANNEL_OPTIONS)
        self._deployment: asyncio.Task[Deployment] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._streams: set[Responses] = set()
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
        responses = Responses(self._infer(request, headers))
        self._streams.add(responses)
        timer = (
            None
            if timeout is None
            else asyncio.get_running_loop().call_later(
                timeout, responses.fail, DeadlineExceededError(f"not done after {timeout:g} s")
            )
        )
        completion_tokens = 0
        is_over = False
        try:
            async for response in responses:
                is_over = response.is_final
                stopped = response.stop_reason is not None
                echoed = 0 if request.exclude_input_in_output else response.prompt_tokens
                begin, completion_tokens = (
                    completion_tokens,
                    completion_tokens + response.tokens - echoed,
                )
                budget = _budget(request, deployment, response.prompt_tokens)
                reason: FinishReason | None = None
                if stopped:
                    reason = "stop"
                elif is_over:
                    reason = _finish_reason(completion_tokens, budget)
                end = response.pending_text if is_over else ""
                if request.include_stop_str_in_output:
                    end += response.stop_reason or ""
                log_probs = _log_probs_of(response.log_probs, begin, completion_tokens)
                yield TextChunk(
                    text=response.text + end,
                    prompt_tokens=response.prompt_tokens,
                    completion_tokens=completion_tokens,
                    finish_reason=reason,
                    output_ids=response.output_ids[echoed:],
                    log_probs=log_probs,
                    token_texts=_with_end(response.token_texts[: len(log_probs)], end),
                    other_beams=[
                        Completion(
                            text=beam.text,
                            prompt_tokens=response.prompt_tokens,
                            completion_tokens=beam.tokens - echoed,
                            finish_reason=_finish_reason(beam.tokens - echoed, budget),
                        )
                        for beam in response.other_beams
                    ],
                )
                if stopped and not is_over:
                    return
            if not is_over:
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

    def _stop_soon(self, request_id: str, engine_model: str, responses: Responses) -> None:
        """Stop the request in a task of its own: whoever left is in no state to wait for it."""
        task = asyncio.create_task(
            self._stop(request_id, engine_model, responses), name=f"stop request {request_id}"
        )
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _stop(self, request_id: str, engine_model: str, responses: Responses) -> None:
        """Tell the engine to stop until the request's final response has come.

        A stop that overtakes its request on the way to the engine is lost, so it is said again,
        first soon, then ever less often. The call itself is not cancelled: Triton 2.51 would never
        finish its ensemble request.
        """
        left_at = time.perf_counter()
        period = FIRST_STOP_PERIOD_SECONDS
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while not responses.are_over:
                    async for _ in self._call(engine_model, stop_tensors(), request_id):
                        pass
                    await responses.wait_until_over(period)
                    period *= 2
            milliseconds = 1000 * (time.perf_counter() - left_at)
            logger.info("request %s was stopped in %.1f ms", request_id, milliseconds)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            logger.warning("request %s could not be stopped: %r", request_id, error)
            responses.abandon()

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
            first, engine = [
                step.model_name
                for step in (await self._config(self._model)).ensemble_scheduling.step
            ][:2]
            parameters = (await self._config(first)).parameters
        except InferenceServerException as error:
            raise _error_from_exception(error) from error
        return Deployment(
            engine_model=engine,
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
        other_beams=[beam for chunk in chunks for beam in chunk.other_beams],
    )


def _budget(request: GenerationRequest, deployment: Deployment, prompt_tokens: int) -> int:
    """Return how many tokens preprocessing allows the reply."""
    max_length = min(request.max_length or sys.maxsize, deployment.max_seq_len)
    return min(request.max_tokens, max_length - prompt_tokens)


def _finish_reason(completion_tokens: int, budget: int) -> FinishReason:
    """Return `length` when the reply used up its budget; the engine does not say."""
    return "length" if completion_tokens >= budget else "stop"


def _with_end(texts: list[str], end: str) -> list[str]:
    return [*texts[:-1], texts[-1] + end] if texts else []


def _log_probs_of(values: list[float], begin: int, end: int) -> list[float]:
    """Return those of the tokens `begin` to `end` of the reply.

    TensorRT-LLM's streams repeat them from the beginning (NVIDIA/TensorRT-LLM,
    cpp/tensorrt_llm/batch_manager/llmRequest.cpp); others send those of the response alone.
    """
    return values[begin:end] if len(values) >= end else values[: end - begin]


def _error_from_exception(error: InferenceServerException) -> ServiceError:
    code = grpc.StatusCode[error.status().removeprefix("StatusCode.")]
    return error_from_status(code, error.message())
