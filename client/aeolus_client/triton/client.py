"""An asyncio client of the ensemble on Triton, by gRPC or by HTTP."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import cast

from aeolus_client.errors import DeadlineExceededError, ServerUnavailableError, ServiceError
from aeolus_client.generation import Completion, FinishReason, GenerationRequest, TextChunk
from aeolus_client.triton.deployment import Deployment, read_deployment
from aeolus_client.triton.grpc import GrpcTransport
from aeolus_client.triton.http import HttpTransport
from aeolus_client.triton.reply import Reply
from aeolus_client.triton.responses import ResponseBuffer
from aeolus_client.triton.transport import Transport

logger = logging.getLogger(__name__)

FIRST_STOP_PERIOD_SECONDS = 0.025
STOP_SECONDS = 10.0
MAX_ROUND_SECONDS = 0.02


class TritonClient:
    """Sends generation requests to one ensemble; one object serves any number of tasks.

    Every method raises a `client.errors.ServiceError` when it cannot do what it says.
    """

    def __init__(
        self, address: str, model: str = "ensemble", *, round_seconds_a_stream: float = 0.0
    ):
        """Connect on first use.

        Args:
            address: `host:port` of Triton's gRPC service, or `http://host:port` of its HTTP one.
            model: name of the ensemble.
            round_seconds_a_stream: a stream's chunks are at least this long apart for each stream
                that runs, and what comes meanwhile is joined; but never longer than
                `MAX_ROUND_SECONDS`, and neither the first nor the last waits.
        """
        self._model = model
        self._round_seconds_a_stream = round_seconds_a_stream
        self._transport: Transport = (
            HttpTransport(address) if "://" in address else GrpcTransport(address)
        )
        self._deployment: asyncio.Task[Deployment] | None = None
        self._stops: set[asyncio.Task[None]] = set()
        self._streams: set[ResponseBuffer] = set()
        self._end: ServiceError | None = None

    async def stream(
        self,
        request: GenerationRequest,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the engine is stopped, no task cancelled
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[TextChunk, None]:
        """Run a request and yield its text as it comes; the last chunk has a finish reason.

        Leaving early - closing the generator, cancelling the task that iterates it - stops the
        engine, which Triton by itself does not when a client leaves an ensemble.

        Args:
            request: what to generate.
            timeout: seconds after which it ends in a `DeadlineExceededError`, the engine stopped.
            headers: of the call (gRPC's metadata), such as a `traceparent`.
        """
        deployment = await self._deployment_of_model()
        if self._end is not None:
            raise self._end
        responses = ResponseBuffer(
            self._transport.generate(self._model, request, headers), self._round_seconds
        )
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
        return await self._transport.is_ready(self._model)

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
        await self._transport.close()

    def _round_seconds(self) -> float:
        return min(MAX_ROUND_SECONDS, len(self._streams) * self._round_seconds_a_stream)

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
                    await self._transport.stop(engine_model, request_id)
                    await responses.wait_until_over(period)
                    period *= 2
        except (ServiceError, TimeoutError) as error:
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
                read_deployment(self._transport, self._model),
                name=f"read the configuration of {self._model}",
            )
        if not reading.done():
            await asyncio.wait({reading})
        return reading.result()


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
