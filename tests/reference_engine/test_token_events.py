"""Events of one request that go out together."""

from reference_engine.interface import TokenEvent


def test_the_tokens_of_a_stream_follow_each_other() -> None:
    event = TokenEvent([[1]], is_final=False).followed_by(TokenEvent([[2, 3]], is_final=False))
    assert event == TokenEvent([[1, 2, 3]], is_final=False)
    end = event.followed_by(TokenEvent([[]], is_final=True))
    assert end == TokenEvent([[1, 2, 3]], is_final=True)


def test_of_beams_the_later_event_says_all() -> None:
    later = TokenEvent([[1, 3], [2, 4]], is_final=True)
    assert TokenEvent([[1], [2]], is_final=False).followed_by(later) == later


def test_an_error_is_all_that_is_left_to_say() -> None:
    error = TokenEvent([], is_final=True, error=RuntimeError("out of memory"))
    assert TokenEvent([[1]], is_final=False).followed_by(error) == error
