"""Prompt and new tokens share one limit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.request_parameters import RequestParameters
from preprocessing.budget import fewest_new_tokens, new_token_budget
from preprocessing.preprocessor import Preprocessor
from support.preparing import prepare


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 200))
def test_the_budget_is_what_was_asked_for_or_what_fits(
    prompt_tokens: int, max_tokens: int, max_length: int
) -> None:
    if prompt_tokens >= max_length:
        with pytest.raises(InvalidRequestError):
            new_token_budget(prompt_tokens, max_tokens, max_length)
    else:
        budget = new_token_budget(prompt_tokens, max_tokens, max_length)
        assert 1 <= budget <= max_tokens
        assert prompt_tokens + budget <= max_length
        assert budget == max_tokens or prompt_tokens + budget == max_length


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidRequestError, match=r"has 4100 tokens, but .* may have 4096"):
        new_token_budget(4100, 1, 4096)


@pytest.mark.parametrize(
    ("prompt_tokens", "max_tokens", "reason"),
    [(0, 5, "the prompt is empty"), (5, 0, "max_tokens is 0"), (5, -1, "max_tokens is -1")],
)
def test_nothing_to_do_is_refused(prompt_tokens: int, max_tokens: int, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        new_token_budget(prompt_tokens, max_tokens, 64)


def test_the_smaller_of_the_two_limits_holds(chat: Preprocessor) -> None:
    def budget(max_length: int | None = None) -> int:
        inputs = prepare(chat, max_tokens=1000, text_input="a", max_length=max_length)
        return inputs.request_output_len

    assert budget() == 63
    assert budget(max_length=10) == 9
    assert budget(max_length=1000) == 63


def test_a_limit_below_one_is_refused(chat: Preprocessor) -> None:
    with pytest.raises(InvalidRequestError, match="max_length is 0"):
        prepare(chat, text_input="a", max_length=0)


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenized(chat: Preprocessor) -> None:
    text = "a" * 2_000_000
    with pytest.raises(InvalidRequestError, match="has 2000000 bytes, which is more than 64"):
        prepare(chat, text_input=text)


def test_only_the_text_of_messages_counts_as_its_size(chat: Preprocessor) -> None:
    messages = '[{"role": "user",' + " " * 10_000 + r'"content": "\u0061"}]'
    assert prepare(chat, messages=messages).request_output_len == 1


@pytest.mark.parametrize("name", ["stop_words", "bad_words"])
def test_words_that_cannot_fit_are_refused_before_they_are_tokenized(
    chat: Preprocessor, name: str
) -> None:
    words = ["a" * 1000] * 1000
    with pytest.raises(InvalidRequestError, match=f"{name} has 1000000 bytes"):
        prepare(chat, text_input="a", **{name: words})


def test_min_tokens_beyond_the_budget_are_refused(chat: Preprocessor) -> None:
    with pytest.raises(InvalidRequestError, match="min_tokens is 9, but the reply may have 8"):
        prepare(chat, max_tokens=8, text_input="a", sampling={"min_tokens": 9})


@pytest.mark.parametrize(
    ("asked", "fewest"),
    [
        ({}, 0),
        ({"min_tokens": 4}, 4),
        ({"min_length": 4}, 4),
        ({"min_tokens": 4, "min_length": 4}, 4),
        ({"min_total_length": 14}, 4),
        ({"min_total_length": 4}, 0),
        ({"min_total_length": 14, "min_tokens": 5}, 5),
    ],
)
def test_the_strictest_minimum_holds(asked: dict[str, int], fewest: int) -> None:
    assert fewest_new_tokens(10, 20, asked) == fewest


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"min_tokens": 4, "min_length": 5}, "min_tokens is 4 and its alias min_length 5"),
        ({"min_length": 21}, "min_length is 21, but the reply may have 20"),
        ({"min_total_length": 31}, "min_total_length is 31, but the reply may have 20"),
    ],
)
def test_minima_that_cannot_be_met_are_refused(asked: dict[str, int], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        fewest_new_tokens(10, 20, asked)


def test_the_engine_is_told_one_minimum(chat: Preprocessor) -> None:
    one_end_id = RequestParameters(end_ids=(7,))
    minimum = {"min_total_length": 6}
    request: dict[str, Any] = {"max_tokens": 9, "input_ids": [5, 6], "sampling": minimum}
    assert prepare(chat, **request, parameters=one_end_id).sampling == {"min_tokens": 4}
    with pytest.raises(InvalidRequestError, match=r"may end at \[0, 7\]; send one in end_ids"):
        prepare(chat, **request)


def test_a_reply_of_a_fixed_length_has_none_of_its_end_ids(chat: Preprocessor) -> None:
    prepared = prepare(chat, max_tokens=9, input_ids=[5, 6], sampling={"min_tokens": 9})
    assert (prepared.end_id, prepared.sampling) == (0, {"min_tokens": 9})
    assert prepared.bad_words == [[7]]
