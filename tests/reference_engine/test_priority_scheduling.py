"""Which of the waiting requests runs next."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from engine_step.interface import RequestRefusedError, TokenEvent
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from support.engine_harness import Replies, request


@pytest.fixture
def one_row(checkpoint: Path) -> Iterator[ReferenceEngine]:
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=1, dtype="float32"))
    yield engine
    engine.shutdown()


def test_the_higher_priority_runs_first_and_equal_ones_as_they_came(
    one_row: ReferenceEngine,
) -> None:
    priorities = [0.5, 0.1, 0.5, 1.0, 0.0, 1.0, 0.7]
    order: list[int] = []
    replies = [Replies() for _ in priorities]
    running = Replies()

    def listen(number: int, event: TokenEvent) -> None:
        order.append(number)
        replies[number](event)

    def submit_all(event: TokenEvent) -> None:
        for number, priority in enumerate(priorities):
            one_row.submit(request([1, 2], 2, priority=priority), partial(listen, number))
        running(event)

    one_row.submit(request([1, 2, 3], 1), submit_all)
    for each in replies:
        each.beams()
    assert order == [3, 5, 6, 0, 2, 1, 4]


def test_what_runs_is_not_interrupted(one_row: ReferenceEngine) -> None:
    first, second = Replies(), Replies()
    ends: list[str] = []

    def listen_high(event: TokenEvent) -> None:
        ends.append("high")
        second(event)

    def submit_higher(event: TokenEvent) -> None:
        if not ends:
            ends.append("begun")
            one_row.submit(request([4], 1, priority=1.0), listen_high)
        if event.is_final:
            ends.append("low")
        first(event)

    one_row.submit(request([1, 2], 20, streaming=True, priority=0.0), submit_higher)
    assert len(first.streamed()) == 20
    second.beams()
    assert ends == ["begun", "low", "high"]


@pytest.mark.parametrize("priority", [-0.1, 1.1, float("nan")])
def test_a_priority_is_from_0_to_1(one_row: ReferenceEngine, priority: float) -> None:
    with pytest.raises(RequestRefusedError, match=r"priority is .*; it must be from 0 to 1"):
        one_row.submit(request([1], 1, priority=priority), Replies())
