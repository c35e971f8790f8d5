"""The responses of one call, read to their end by a task of their own."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from aeolus_client.errors import GenerationFailedError, ServiceError
from aeolus_client.triton.tensors import EnsembleResponse

MAX_BUFFERED = 64


class ResponseBuffer:
    """An iterator that can be left at any time without cancelling the call behind it.

    A call ends with the task that reads it; so another task reads. For a consumer slower than the
    engine it holds `MAX_BUFFERED` responses and joins what comes beyond them, so that it never
    holds much more than the text of one reply.
    """

    def __init__(self, call: AsyncGenerator[EnsembleResponse | ServiceError, None]):
        """Start to read `call`."""
        self._call = call
        self._buffer: deque[EnsembleResponse] = deque()
        self._arrival = asyncio.Event()
        self._error: ServiceError | None = None
        self._is_ended = False
        self._reader = asyncio.create_task(self._read(), name="read responses")

    @property
    def are_over(self) -> bool:
        """Whether the server has sent all it will."""
        return self._reader.done()

    async def wait_until_over(self, seconds: float) -> None:
        """Return when the call has ended, or after `seconds`."""
        await asyncio.wait({self._reader}, timeout=seconds)

    def abandon(self) -> None:
        """Cancel the call."""
        self._reader.cancel()

    def fail(self, error: ServiceError) -> None:
        """Raise `error` where the responses are iterated, whatever the server sends."""
        self._error = self._error or error
        self._arrival.set()

    async def __aiter__(self) -> AsyncIterator[EnsembleResponse]:
        """Yield the responses; raises the `ServiceError` that ended them, if one did."""
        while True:
            while self._buffer:
                yield self._buffer.popleft()
            if self._error is not None:
                raise self._error
            if self._is_ended:
                return
            self._arrival.clear()
            await self._arrival.wait()

    def _put(self, response: EnsembleResponse) -> None:
        if len(self._buffer) >= MAX_BUFFERED:
            response = _joined(self._buffer.pop(), response)
        self._buffer.append(response)
        self._arrival.set()

    async def _read(self) -> None:
        try:
            async with aclosing(self._call) as responses:
                async for response in responses:
                    if isinstance(response, ServiceError):
                        self.fail(response)
                    else:
                        self._put(response)
        except ServiceError as error:
            self.fail(error)
        except Exception as error:
            self.fail(
                GenerationFailedError(f"a response of the ensemble cannot be read: {error!r}")
            )
        finally:
            self._is_ended = True
            self._arrival.set()


def _joined(earlier: EnsembleResponse, later: EnsembleResponse) -> EnsembleResponse:
    repeats_earlier = len(later.log_probs) > later.tokens
    return EnsembleResponse(
        text=earlier.text + later.text,
        pending_text=later.pending_text,
        tokens=earlier.tokens + later.tokens,
        prompt_tokens=max(earlier.prompt_tokens, later.prompt_tokens),
        is_final=later.is_final,
        stop_reason=earlier.stop_reason or later.stop_reason,
        finish_reason=earlier.finish_reason or later.finish_reason,
        output_ids=earlier.output_ids + later.output_ids,
        log_probs=later.log_probs if repeats_earlier else earlier.log_probs + later.log_probs,
        token_texts=earlier.token_texts + later.token_texts,
        top=earlier.top + later.top,
        prompt=earlier.prompt or later.prompt,
        other_beams=later.other_beams,
    )
