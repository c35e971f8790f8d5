"""The responses of one call, read to their end by a task of their own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from client.errors import GenerationFailedError, ServiceError
from client.status import error_from_status, error_from_text
from client.tensors import EnsembleResponse, read_response


class Responses:
    """An iterator that can be left at any time without cancelling the call behind it.

    grpc.aio cancels a call when the task that reads it is cancelled; so another task reads. It
    holds at most one reply, which the server's limit of tokens bounds.
    """

    def __init__(self, call: Any):
        """Start to read `call`, an iterator of (result, error) with a `cancel` method."""
        self._call = call
        self._queue: asyncio.Queue[EnsembleResponse | ServiceError | None] = asyncio.Queue()
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
        self._call.cancel()

    async def __aiter__(self) -> AsyncIterator[EnsembleResponse]:
        """Yield the responses; raises the `ServiceError` that ended them, if one did."""
        while (response := await self._queue.get()) is not None:
            if isinstance(response, ServiceError):
                raise response
            yield response

    async def _read(self) -> None:
        try:
            async for result, error in self._call:
                self._queue.put_nowait(
                    read_response(result) if error is None else error_from_text(error.message())
                )
        except grpc.aio.AioRpcError as error:
            self._queue.put_nowait(error_from_status(error.code(), error.details()))
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        except Exception as error:
            self._queue.put_nowait(
                GenerationFailedError(f"a response of the ensemble can not be read: {error!r}")
            )
        finally:
            self._queue.put_nowait(None)
