"""Tensors in, tensors out, in the shapes of the wire."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeolus_contract.failures import InvalidRequestError
from preprocessing.request import EngineInputs
from preprocessing.tensors import Tensor, request_from_tensors, tensors_of
from preprocessing.words import word_list

INPUTS = EngineInputs(
    input_ids=[1, 2, 3],
    request_output_len=5,
    end_id=2,
    pad_id=0,
    stop_words=[],
    stop_words_texts=[],
    bad_words=[],
    embedding_bias=None,
    sampling={"top_k": 1, "seed": 2**64 - 1, "temperature": 0.5},
)


def strings(*values: bytes) -> Tensor:
    return np.array([values], dtype=np.object_)


def test_a_request_is_read_from_its_tensors() -> None:
    request = request_from_tensors(
        {
            "QUERY": strings("naïve".encode()),
            "REQUEST_OUTPUT_LEN": np.array([[5]], np.int32),
            "STOP_WORDS_DICT": strings(b"a", b""),
            "SEED": np.array([[2**64 - 1]], np.uint64),
            "TEMPERATURE": np.array([[0.5]], np.float32),
            "STREAM": np.array([[True]]),
        }
    )
    assert request.text_input == "naïve"
    assert request.messages is None
    assert request.max_tokens == 5
    assert request.stop_words == ["a", ""]
    assert request.sampling == {"seed": 2**64 - 1, "temperature": 0.5}
    assert request.stream
    assert request.input_ids is None


def test_parameters_are_read_with_the_tensors() -> None:
    tensors: dict[str, Tensor] = {"REQUEST_OUTPUT_LEN": np.array([[5]], np.int32)}
    request = request_from_tensors(tensors, r'{"stop": "[\"a\"]", "end_ids": "[3, 4]"}')
    assert request.parameters.stop == ("a",)
    assert request.parameters.end_ids == (3, 4)


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("QUERY", np.array([[b"a"], [b"b"]], np.object_), "send one prompt per request"),
        ("QUERY", strings(b"a", b"b"), "query has 2 values; send one"),
        ("QUERY", strings(b"\xff"), "query is not valid UTF-8"),
        ("TOP_K", np.array([[1, 2]], np.int32), "top_k has 2 values; send one"),
    ],
)
def test_a_malformed_tensor_is_refused_by_name(name: str, tensor: Tensor, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        request_from_tensors({"REQUEST_OUTPUT_LEN": np.array([[5]], np.int32), name: tensor})


def test_the_number_of_new_tokens_is_needed() -> None:
    with pytest.raises(InvalidRequestError, match="max_tokens is missing"):
        request_from_tensors({"QUERY": strings(b"a")})


def test_only_what_is_needed_is_sent_in_its_type_and_shape() -> None:
    tensors = tensors_of(INPUTS, stream=False)
    assert {name: (each.dtype.type, each.shape) for name, each in tensors.items()} == {
        "INPUT_ID": (np.int32, (1, 3)),
        "REQUEST_INPUT_LEN": (np.int32, (1, 1)),
        "DECODER_INPUT_ID": (np.int32, (1, 1)),
        "REQUEST_DECODER_INPUT_LEN": (np.int32, (1, 1)),
        "REQUEST_OUTPUT_LEN": (np.int32, (1, 1)),
        "OUT_END_ID": (np.int32, (1, 1)),
        "OUT_PAD_ID": (np.int32, (1, 1)),
        "OUT_TOP_K": (np.int32, (1, 1)),
        "OUT_SEED": (np.uint64, (1, 1)),
        "OUT_TEMPERATURE": (np.float32, (1, 1)),
    }


def test_a_stream_asks_for_the_metrics_that_name_it() -> None:
    assert tensors_of(INPUTS, stream=True)["OUT_RETURN_PERF_METRICS"].tolist() == [[True]]


def test_a_bias_is_one_row_over_the_vocabulary() -> None:
    bias = np.zeros(512, np.float32)
    sent = tensors_of(replace(INPUTS, embedding_bias=bias), stream=False)["EMBEDDING_BIAS"]
    assert sent.shape == (1, 512)
    assert sent.dtype == np.float32


def test_word_lists_have_tensorrt_llms_layout() -> None:
    assert word_list([[5, 6], [9]]).tolist() == [[5, 6, 9], [2, 3, -1]]
    assert word_list([[13]]).tolist() == [[13], [1]]


def words_of(ids: list[int], ends: list[int]) -> list[list[int]]:
    words, begin = [], 0
    for end in (end for end in ends if end != -1):
        words.append(ids[begin:end])
        begin = end
    return words


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_word_list_can_be_read_back(words: list[list[int]]) -> None:
    assert words_of(*word_list(words).tolist()) == words
