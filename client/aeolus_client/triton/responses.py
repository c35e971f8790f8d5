"""The responses of one call, read to their end by a task of their own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import reduce

from aeolus_client.errors import GenerationFailedError, ServiceError
from aeolus_client.triton.tensors import EnsembleResponse

MAX_WAITING = 64


def at_once() -> float:
    """Return the pace of a consumer that takes each response as it comes."""
    return 0.0


class ResponseBuffer:
    """An iterator that can be left at any time without cancelling the call behind it.

    A call ends with the task that reads it; so another task reads. What has come since the
    consumer's last step is joined to one response.
    """

    def __init__(
        self,
        call: AsyncGenerator[EnsembleResponse | ServiceError, None],
        pace: Callable[[], float] = at_once,
    ):
        """Start to read `call`.

        Args:
            call: see `Transport.generate`.
            pace: returns the seconds from one response of the iteration to the next, at least;
                the final one and an error do not wait.
        """
        self._call = call
        self._pace = pace
        self._waiting: list[EnsembleResponse] = []
        self._loop = asyncio.get_running_loop()
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_urgent = False
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
        self._hurry()

    async def __aiter__(self) -> AsyncIterator[EnsembleResponse]:
        """Yield the responses; raises the `ServiceError` that ended them, if one did."""
        while True:
            if self._waiting and self._is_due():
                response = reduce(_joined, self._waiting)
                self._waiting.clear()
                self._due_at = self._loop.time() + self._pace()
                yield response
            elif self._error is not None:
                raise self._error
            elif self._is_ended:
                return
            else:
                self._arrival.clear()
                await self._arrival.wait()

    def _is_due(self) -> bool:
        """Whether what waits may go; if it may not yet, the consumer is woken when it may."""
        if self._is_urgent:
            return True
        seconds = self._due_at - self._loop.time()
        if seconds <= 0:
            return True
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._end_pause)
        return False

    def _end_pause(self) -> None:
        self._timer = None
        self._arrival.set()

    def _hurry(self) -> None:
        self._is_urgent = True
        self._arrival.set()

    def _put(self, response: EnsembleResponse) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._waiting = [reduce(_joined, self._waiting)]
        self._waiting.append(response)
        if response.is_final:
            self._hurry()
        elif self._timer is None:
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
            self._hurry()


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
