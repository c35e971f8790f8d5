"""State of streams is bounded in number and in time."""

from pathlib import Path

import pytest

from aeolus_contract.request_parameters import RequestParameters
from postprocessing.sequence_text import SequenceText
from postprocessing.streams import Streams
from postprocessing.vocabulary import load_vocabulary
from support.tokenizers_for_tests import save_byte_level_bpe


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def streams(clock: Clock) -> Streams:
    return Streams(max_streams=3, idle_seconds=60, now=clock)


@pytest.fixture
def text(tmp_path: Path) -> SequenceText:
    save_byte_level_bpe(tmp_path)
    return SequenceText(load_vocabulary(tmp_path), RequestParameters(skip_special_tokens=True))


def test_a_stream_keeps_its_text(streams: Streams, text: SequenceText) -> None:
    assert streams.get(("a", 1, 0), lambda: text) is text
    assert streams.get(("a", 1, 0), pytest.fail) is text


def test_the_least_recently_used_goes_when_there_are_too_many(
    streams: Streams, text: SequenceText
) -> None:
    for name in ("a", "b", "c", "a", "d"):
        streams.get((name, 1, 0), lambda: text)
    assert len(streams) == 3
    assert streams.get(("a", 1, 0), pytest.fail) is text
    with pytest.raises(pytest.fail.Exception):
        streams.get(("b", 1, 0), lambda: pytest.fail("b is new"))


def test_an_idle_stream_is_forgotten(streams: Streams, clock: Clock, text: SequenceText) -> None:
    streams.get(("a", 1, 0), lambda: text)
    clock.time = 61
    streams.get(("b", 1, 0), lambda: text)
    assert len(streams) == 1
