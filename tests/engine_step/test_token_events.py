"""Events of one request that go out together."""

import pytest

from engine_step.interface import PromptLogProbs, TokenEvent, TopTokens


def test_the_tokens_of_a_stream_follow_each_other() -> None:
    event = TokenEvent([[1]], is_final=False).followed_by(TokenEvent([[2, 3]], is_final=False))
    assert event == TokenEvent([[1, 2, 3]], is_final=False)


def test_the_prompts_log_probs_stay_with_the_first_tokens() -> None:
    prompt = PromptLogProbs([7, 8], [0.0, -1.5], None)
    first = TokenEvent([[1]], is_final=False, prompt=prompt)
    joined = first.followed_by(TokenEvent([[2]], is_final=False))
    assert joined == TokenEvent([[1, 2]], is_final=False, prompt=prompt)


def test_tokens_with_likely_ones_beside_them_go_out_apart() -> None:
    later = TokenEvent([[2]], is_final=False, top=TopTokens([[2, 3]], [[-0.1, -2.0]]))
    assert TokenEvent([[1]], is_final=False).followed_by(later) is None


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
