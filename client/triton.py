"""An asyncio client of the ensemble over Triton's gRPC stream."""

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from client.errors import ServerUnavailableError, ServiceError
from client.generation import Completion, FinishReason, GenerationRequest, TextChunk
from client.status import error_from_status, error_from_text
from client.tensors import EnsembleResponse, input_tensors, read_response, stop_tensors

logger = logging.getLogger(__name__)

# Makes Triton end a failed stream with a gRPC status, not only with a text in a response.
STATUS_HEADER = {"triton_grpc_error": "true"}
# A stop that overtakes its request on the way to the engine is lost, so it is said again.
STOP_DELAYS_SECONDS = (0.0, 0.1, 0.5)
READY_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the server's own configuration says of an ensemble."""

    engine_model: str
    max_seq_len: int
    """Most tokens of prompt and reply together."""


class TritonClient:
    """Sends generation requests to one ensemble; one object serves any number of tasks.

    Every method raises a `client.errors.ServiceError` when it can not do what it says.
    """

    def __init__(self, address: str, model: str = "ensemble"):
        """Connect on first use.

        Args:
            address: `host:port` of Triton's gRPC service.
            model: name of the ensemble.
        """
        self._model = model
        self._triton = triton.InferenceServerClient(address)
        self._deployment: Deployment | None = None
        self._stops: set[asyncio.Task[None]] = set()

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[TextChunk, None]:
        """Run a request and yield its text as it comes; the last chunk has a finish reason.

        Leaving early - closing the generator, cancelling the task that iterates it - stops the
        engine, which Triton by itself does not when a client leaves an ensemble.
        """
        deployment = await self._deployment_of_model()
        completion_tokens = 0
        is_over = False
        try:
            async with aclosing(self._responses(request)) as responses:
                async for response in responses:
                    is_over = response.is_final
                    echoed = 0 if request.exclude_input_in_output else response.prompt_tokens
                    completion_tokens += response.tokens - echoed
                    yield TextChunk(
                        text=response.text + (response.pending_text if is_over else ""),
                        prompt_tokens=response.prompt_tokens,
                        completion_tokens=completion_tokens,
                        finish_reason=_finish_reason(
                            request, deployment, response, completion_tokens
                        )
                        if is_over
                        else None,
                    )
            if not is_over:
                raise ServerUnavailableError(
                    "Triton ended the stream before the reply was complete"
                )
        finally:
            if not is_over:
                self._stop_soon(request.request_id, deployment.engine_model)

    async def complete(self, request: GenerationRequest) -> Completion:
        """Run a request to its end; cancelling the caller stops the engine."""
        async with aclosing(self.stream(request)) as stream:
            chunks = [chunk async for chunk in stream]
        last = chunks[-1]
        return Completion(
            text="".join(chunk.text for chunk in chunks),
            prompt_tokens=last.prompt_tokens,
            completion_tokens=last.completion_tokens,
            finish_reason=cast(FinishReason, last.finish_reason),  # stream() raises without one
        )

    async def is_ready(self) -> bool:
        """Whether the ensemble and all its steps are loaded and the server can be reached."""
        try:
            return bool(
                await self._triton.is_model_ready(self._model, client_timeout=READY_TIMEOUT_SECONDS)
            )
        except InferenceServerException:
            return False

    async def close(self) -> None:
        """Wait for stops under way, then disconnect."""
        await asyncio.gather(*self._stops, return_exceptions=True)
        await self._triton.close()

    async def _responses(
        self, request: GenerationRequest
    ) -> AsyncGenerator[EnsembleResponse, None]:
        call = self._infer(
            self._model,
            input_tensors(request),
            request.request_id,
            {"skip_special_tokens": request.skip_special_tokens},
        )
        try:
            async for result, error in call:
                if error is not None:
                    raise error_from_text(error.message())
                yield read_response(result)
        except grpc.aio.AioRpcError as error:
            raise error_from_status(error.code(), error.details()) from error
        finally:
            call.cancel()

    def _infer(
        self,
        model: str,
        inputs: list[triton.InferInput],
        request_id: str,
        parameters: dict[str, bool] | None = None,
    ) -> Any:
        async def request() -> AsyncGenerator[dict[str, Any], None]:
            yield {
                "model_name": model,
                "inputs": inputs,
                "request_id": request_id,
                "parameters": parameters,
            }

        return self._triton.stream_infer(request(), headers=STATUS_HEADER)

    def _stop_soon(self, request_id: str, engine_model: str) -> None:
        """Stop the request in a task of its own: whoever left is in no state to wait for it."""
        task = asyncio.create_task(
            self._stop(request_id, engine_model), name=f"stop request {request_id}"
        )
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    async def _stop(self, request_id: str, engine_model: str) -> None:
        for delay in STOP_DELAYS_SECONDS:
            await asyncio.sleep(delay)
            try:
                async for _ in self._infer(engine_model, stop_tensors(), request_id):
                    pass
            except grpc.aio.AioRpcError as error:
                logger.warning("request %s could not be stopped: %s", request_id, error.details())
                return

    async def _deployment_of_model(self) -> Deployment:
        """Read once what replies are cut by and where a stop must go."""
        if self._deployment is None:
            try:
                first, engine = [
                    step.model_name
                    for step in (await self._config(self._model)).ensemble_scheduling.step
                ][:2]
                parameters = (await self._config(first)).parameters
            except InferenceServerException as error:
                raise _error_from_exception(error) from error
            self._deployment = Deployment(
                engine_model=engine,
                max_seq_len=int(parameters["max_seq_len"].string_value or sys.maxsize),
            )
        return self._deployment

    async def _config(self, model: str) -> Any:
        return (await self._triton.get_model_config(model)).config


def _finish_reason(
    request: GenerationRequest,
    deployment: Deployment,
    response: EnsembleResponse,
    completion_tokens: int,
) -> FinishReason:
    """`length` when the reply used up what preprocessing allowed it; the engine does not say."""
    max_length = min(request.max_length or sys.maxsize, deployment.max_seq_len)
    budget = min(request.max_tokens, max_length - response.prompt_tokens)
    return "length" if completion_tokens >= budget else "stop"


def _error_from_exception(error: InferenceServerException) -> ServiceError:
    code = grpc.StatusCode[error.status().removeprefix("StatusCode.")]
    return error_from_status(code, error.message())
