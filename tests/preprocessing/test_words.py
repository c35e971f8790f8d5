"""Word lists of every kind: to token ids, or refused with the reason."""

import math
from typing import Any

import numpy as np
import pytest

from aeolus_contract.failures import InvalidRequestError
from preprocessing.preprocessor import Preprocessor
from support.preparing import prepare


def words_of(preprocessor: Preprocessor, name: str, **request: Any) -> list[list[int]]:
    words: list[list[int]] = getattr(prepare(preprocessor, input_ids=[5], **request), name)
    return words


@pytest.mark.parametrize("name", ["stop_words", "bad_words", "embedding_bias_words"])
def test_a_bare_empty_string_is_no_word(chat: Preprocessor, name: str) -> None:
    request: dict[str, Any] = {name: [""]}
    if name == "embedding_bias_words":
        request["embedding_bias_weights"] = [1.0]
    inputs = prepare(chat, input_ids=[5], **request)
    assert (inputs.stop_words, inputs.bad_words, inputs.embedding_bias) == ([[7]], [], None)


def test_bad_words_come_as_text_and_as_ids(chat: Preprocessor) -> None:
    words = words_of(chat, "bad_words", bad_words=["wind"], bad_words_ids="[[8, 9], [], [10]]")
    assert words == [chat.tokenizer.encode("wind"), [8, 9], [10]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[[1]", "bad_words_ids is not valid JSON"),
        ("[1]", "bad_words_ids must be a list of lists of token ids"),
        ('{"a": 1}', "bad_words_ids must be a list of lists of token ids"),
        ("[[1.5]]", "bad_words_ids holds 1.5; token ids of this model are 0 to"),
        ("[[true]]", "bad_words_ids holds True"),
        ("[[600]]", "bad_words_ids holds 600"),
    ],
)
def test_ids_of_words_are_checked(chat: Preprocessor, text: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        prepare(chat, input_ids=[5], bad_words_ids=text)


def test_every_token_of_a_word_gets_its_weight_and_weights_add_up(chat: Preprocessor) -> None:
    word = chat.tokenizer.encode("wind東")
    bias = prepare(
        chat,
        input_ids=[5],
        embedding_bias_words=["wind東", ""],
        embedding_bias_weights=[2.0, 9.0],
        embedding_bias_ids=[word[0], 300],
        embedding_bias_id_weights=[0.5, -1.0],
    ).embedding_bias
    assert bias is not None
    expected = np.zeros(chat.tokenizer.vocab_size, np.float32)
    for token in word:
        expected[token] += 2.0
    expected[word[0]] += 0.5
    expected[300] = -1.0
    assert bias.tolist() == expected.tolist()


def test_a_token_of_weight_minus_infinity_is_a_bad_word(chat: Preprocessor) -> None:
    weights = [-math.inf, 1.0]
    inputs = prepare(
        chat, input_ids=[5], embedding_bias_ids=[0, 9], embedding_bias_id_weights=weights
    )
    assert inputs.bad_words == [[0]]
    assert inputs.embedding_bias is not None
    assert inputs.embedding_bias.nonzero()[0].tolist() == [9]


def test_a_ban_of_every_token_is_refused(chat: Preprocessor) -> None:
    every = list(range(chat.tokenizer.vocab_size))
    with pytest.raises(InvalidRequestError, match="leave one that may come"):
        prepare(
            chat,
            input_ids=[5],
            embedding_bias_ids=every,
            embedding_bias_id_weights=[-math.inf] * len(every),
        )


def test_more_words_than_an_engine_can_look_for_are_refused(chat: Preprocessor) -> None:
    single, pair = "[5],", "[5, 6],"
    assert words_of(chat, "bad_words", bad_words_ids=f"[{single * 1025}[5]]")
    with pytest.raises(InvalidRequestError, match="bad_words has 1025 sequences of tokens"):
        prepare(chat, input_ids=[5], bad_words_ids=f"[{pair * 1024}[5, 6]]")
    with pytest.raises(InvalidRequestError, match="stop_words has 1025 sequences of tokens"):
        prepare(chat, input_ids=[5], stop_words=["a"] * 1025)


def test_bad_words_as_ids_leave_the_end_of_the_reply_possible(chat: Preprocessor) -> None:
    words = words_of(chat, "bad_words", bad_words_ids="[[0], [7], [7, 0], [8]]")
    assert words == [[7, 0], [8]]


@pytest.mark.parametrize(
    ("request_values", "reason"),
    [
        (
            {"embedding_bias_words": ["a"]},
            "embedding_bias_words has 1 values and embedding_bias_weights 0",
        ),
        (
            {"embedding_bias_id_weights": [1.0]},
            "embedding_bias_ids has 0 values and embedding_bias_id_weights 1",
        ),
        (
            {"embedding_bias_ids": [1], "embedding_bias_id_weights": [float("nan")]},
            "embedding_bias_id_weights holds nan",
        ),
        (
            {"embedding_bias_ids": [-1], "embedding_bias_id_weights": [1.0]},
            "embedding_bias_ids holds -1",
        ),
    ],
)
def test_a_bias_that_is_not_one_is_refused(
    chat: Preprocessor, request_values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        prepare(chat, input_ids=[5], **request_values)


def test_log_probs_of_a_greedy_request_say_that_it_is_greedy(chat: Preprocessor) -> None:
    assert prepare(chat, input_ids=[5], return_log_probs=True).sampling == {"top_k": 1}
    sampled = prepare(chat, input_ids=[5], return_log_probs=True, sampling={"top_p": 0.5})
    assert sampled.sampling == {"top_p": 0.5}


def test_a_pad_id_outside_the_vocabulary_is_refused(chat: Preprocessor) -> None:
    with pytest.raises(InvalidRequestError, match="pad_id is 600"):
        prepare(chat, input_ids=[5], pad_id=600)
