"""Events of one request that go out together."""

import pytest

from engine_step.interface import TokenEvent


def test_the_tokens_of_a_stream_follow_each_other() -> None:
    event = TokenEvent([[1]], is_final=False).followed_by(TokenEvent([[2, 3]], is_final=False))
    assert event == TokenEvent([[1, 2, 3]], is_final=False)


def test_of_beams_the_later_event_says_all() -> None:
    later = TokenEvent([[1, 3], [2, 4]], is_final=True)
    assert TokenEvent([[1], [2]], is_final=False).followed_by(later) == later


@pytest.mark.parametrize(
    "end",
    [
        TokenEvent([[]], is_final=True),
        TokenEvent([], is_final=True, error=RuntimeError("out of memory")),
    ],
)
def test_an_end_without_tokens_stays_by_itself(end: TokenEvent) -> None:
    assert TokenEvent([[1]], is_final=False).followed_by(end) is None
