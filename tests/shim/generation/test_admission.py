import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import Gauge

from aeolus_client import DeadlineExceededError, ServerBusyError
from shim.generation.admission import Admission


def gauge(name: str) -> Gauge:
    return Gauge(name, "for a test", registry=None)


def admission(max_running: int, max_waiting: int) -> tuple[Admission, Gauge, Gauge]:
    running, waiting = gauge("running"), gauge("waiting")
    return Admission(max_running, max_waiting, running, waiting), running, waiting


def value(of: Gauge) -> float:
    return next(iter(of.collect())).samples[0].value


async def hold(places: Admission, order: list[int], number: int, release: asyncio.Event) -> None:
    async with places.place(None):
        order.append(number)
        await release.wait()


def run(work: Callable[[], Awaitable[Any]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_those_beyond_the_limit_wait_in_order_and_one_more_is_refused() -> None:
    async def work() -> None:
        places, running, waiting = admission(2, 2)
        order: list[int] = []
        releases = [asyncio.Event() for _ in range(4)]
        tasks = [
            asyncio.create_task(hold(places, order, number, release))
            for number, release in enumerate(releases)
        ]
        await asyncio.sleep(0)
        assert (order, value(running), value(waiting)) == ([0, 1], 2, 2)
        with pytest.raises(ServerBusyError):
            async with places.place(None):
                pass
        for release in releases:
            release.set()
        await asyncio.gather(*tasks)
        assert (order, value(running), value(waiting)) == ([0, 1, 2, 3], 0, 0)

    run(work)


def test_the_higher_priority_enters_first_and_equal_ones_as_they_came() -> None:
    async def work() -> None:
        places, _, _ = admission(1, 9)
        order: list[int] = []
        release = asyncio.Event()

        async def enter(number: int, priority: float) -> None:
            async with places.place(None, priority):
                order.append(number)
                await release.wait()

        priorities = [0.5, 0.5, 1.0, 0.0, 1.0, 0.5]
        tasks = [asyncio.create_task(enter(*each)) for each in enumerate(priorities)]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*tasks)
        assert order == [0, 2, 4, 1, 5, 3]

    run(work)


@pytest.mark.parametrize("at_its_turn", [False, True])
def test_who_leaves_while_waiting_gives_its_turn_to_the_next(at_its_turn: bool) -> None:
    async def work() -> None:
        places, running, waiting = admission(1, 2)
        order: list[int] = []
        releases = [asyncio.Event() for _ in range(3)]
        first, second, third = (
            asyncio.create_task(hold(places, order, number, release))
            for number, release in enumerate(releases)
        )
        await asyncio.sleep(0)
        releases[0].set()
        if at_its_turn:
            await asyncio.sleep(0)  # the place is handed over, and not taken yet
        second.cancel()
        releases[2].set()
        await asyncio.wait({first, second, third}, timeout=30)
        assert second.cancelled()
        assert (order, value(running), value(waiting)) == ([0, 2], 0, 0)
        async with places.place(None):
            assert value(running) == 1

    run(work)


def test_waiting_ends_at_the_deadline() -> None:
    async def work() -> None:
        places, _, waiting = admission(1, 1)
        async with places.place(None):
            with pytest.raises(DeadlineExceededError):
                async with places.place(asyncio.get_running_loop().time() + 0.01):
                    pass
            assert value(waiting) == 0

    run(work)
