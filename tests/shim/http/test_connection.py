import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from aeolus_client import GenerationFailedError
from shim.http.connection import while_connected


def request_that_ends(disconnected: asyncio.Event) -> Request:
    async def receive() -> Message:
        await disconnected.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_work_is_awaited_while_the_client_stays() -> None:
    async def run() -> str:
        return await while_connected(
            request_that_ends(asyncio.Event()), asyncio.sleep(0.01, result="done")
        )

    assert asyncio.run(run()) == "done"


def test_a_failure_of_the_work_is_passed_on() -> None:
    async def fail() -> None:
        raise GenerationFailedError("out of memory")

    async def run() -> None:
        await while_connected(request_that_ends(asyncio.Event()), fail())

    with pytest.raises(GenerationFailedError, match="out of memory"):
        asyncio.run(run())


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def run() -> None:
        disconnected, work_cancelled = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            disconnected.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                work_cancelled.set()
                raise

        with pytest.raises(ClientDisconnect):
            await while_connected(request_that_ends(disconnected), work())
        assert work_cancelled.is_set()

    asyncio.run(run())


def test_work_is_cancelled_with_whoever_awaits_it() -> None:
    async def run() -> None:
        work = asyncio.create_task(asyncio.sleep(60))
        waiting = asyncio.create_task(while_connected(request_that_ends(asyncio.Event()), work))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert work.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
