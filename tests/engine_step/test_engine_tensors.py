"""Tensors in, requests out; events in, tensors out."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_step.interface import (
    BeamLogProbs,
    EngineRequest,
    RequestRefusedError,
    SamplingConfig,
    TokenEvent,
)
from engine_step.tensors import (
    Tensor,
    counts_asked,
    request_from_tensors,
    tensors_from_event,
    wants_stop,
)
from reference_engine.sampling.processors import is_greedy

token_ids = st.integers(0, 2**31 - 1)
words = st.lists(st.lists(token_ids, min_size=1, max_size=5), max_size=6)
float32s = st.floats(-100, 100, width=32).map(lambda value: float(str(np.float32(value))))
samplings = st.builds(
    SamplingConfig,
    beam_width=st.integers(1, 8),
    temperature=float32s.filter(bool),  # 0 is not kept as such
    top_k=st.integers(0, 100),
    top_p=float32s,
    top_p_decay=float32s,
    top_p_min=float32s,
    top_p_reset_id=st.integers(0, 100),
    seed=st.integers(0, 2**64 - 1),
    repetition_penalty=float32s,
    presence_penalty=float32s,
    frequency_penalty=float32s,
    min_tokens=st.integers(0, 100),
    no_repeat_ngram_size=st.integers(0, 10),
    len_penalty=float32s,
    early_stopping=st.integers(0, 2),
    beam_search_diversity_rate=float32s,
)
requests = st.builds(
    EngineRequest,
    request_id=st.text(),
    input_ids=st.lists(token_ids, min_size=1, max_size=50),
    request_output_len=st.integers(1, 4096),
    end_id=st.integers(-1, 100),
    pad_id=st.integers(0, 100),
    stop_words=words,
    bad_words=words,
    sampling=samplings,
    return_log_probs=st.booleans(),
    streaming=st.booleans(),
    exclude_input_in_output=st.booleans(),
)


def int32(value: int) -> Tensor:
    return np.array([[value]], dtype=np.int32)


def float32(value: float) -> Tensor:
    return np.array([[value]], dtype=np.float32)


def flag(value: bool) -> Tensor:
    return np.array([[value]], dtype=np.bool_)


def word_list(some: list[list[int]]) -> Tensor:
    ids = [token for word in some for token in word]
    ends = list(np.cumsum([len(word) for word in some])) + [-1] * (len(ids) - len(some))
    return np.array([[ids, ends]], dtype=np.int32).reshape(1, 2, -1)


def tensors_of(request: EngineRequest) -> dict[str, Tensor]:
    """Write down a request the way a client of the C++ backend does."""
    sampling = request.sampling
    return {
        "input_ids": np.array([request.input_ids], dtype=np.int32),
        "input_lengths": int32(len(request.input_ids)),
        "request_output_len": int32(request.request_output_len),
        "end_id": int32(request.end_id),
        "pad_id": int32(request.pad_id),
        "stop_words_list": word_list(request.stop_words),
        "bad_words_list": word_list(request.bad_words),
        "beam_width": int32(sampling.beam_width),
        "temperature": float32(sampling.temperature),
        "runtime_top_k": int32(sampling.top_k),
        "runtime_top_p": float32(sampling.top_p),
        "runtime_top_p_decay": float32(sampling.top_p_decay),
        "runtime_top_p_min": float32(sampling.top_p_min),
        "runtime_top_p_reset_ids": int32(sampling.top_p_reset_id or 0),
        "seed": np.array([[sampling.seed]], dtype=np.uint64),
        "repetition_penalty": float32(sampling.repetition_penalty),
        "presence_penalty": float32(sampling.presence_penalty),
        "frequency_penalty": float32(sampling.frequency_penalty),
        "min_tokens": int32(sampling.min_tokens),
        "no_repeat_ngram_size": int32(sampling.no_repeat_ngram_size),
        "len_penalty": float32(sampling.len_penalty),
        "early_stopping": int32(sampling.early_stopping),
        "beam_search_diversity_rate": float32(sampling.beam_search_diversity_rate),
        "return_log_probs": flag(request.return_log_probs),
        "streaming": flag(request.streaming),
        "exclude_input_in_output": flag(request.exclude_input_in_output),
    }


MINIMAL = {"input_ids": np.array([[7, 8]], dtype=np.int32), "request_output_len": int32(5)}


@pytest.mark.slow
@given(requests)
def test_a_request_survives_the_way_through_tensors(request: EngineRequest) -> None:
    assert request_from_tensors(tensors_of(request), request.request_id) == request


@given(st.lists(st.lists(token_ids, max_size=20), min_size=1, max_size=4))
def test_beams_come_back_from_their_tensors(beams: list[list[int]]) -> None:
    request = EngineRequest("", [1, 2, 3], 5)
    outputs = tensors_from_event(TokenEvent(beams, is_final=True), request)
    ids, lengths = outputs["output_ids"], outputs["sequence_length"]
    assert outputs.keys() == {"output_ids", "sequence_length"}
    assert ids.dtype == lengths.dtype == np.int32
    assert ids.shape == (1, len(beams), max(map(len, beams)))
    assert lengths.shape == (1, len(beams))
    for beam, row, length in zip(beams, ids[0], lengths[0], strict=True):
        assert row[:length].tolist() == beam
        assert (row[length:] == -1).all()


def test_absent_tensors_mean_the_defaults() -> None:
    assert request_from_tensors(MINIMAL, "id") == EngineRequest("id", [7, 8], 5)


def test_whether_the_prompt_is_echoed_by_default_is_the_adapters_choice() -> None:
    request = request_from_tensors(MINIMAL, "", exclude_input_in_output=False)
    assert not request.exclude_input_in_output
    asked = {**MINIMAL, "exclude_input_in_output": flag(True)}
    assert request_from_tensors(asked, "", exclude_input_in_output=False).exclude_input_in_output


def test_the_bias_is_a_copy_of_the_servers_memory() -> None:
    tensor = np.array([[1, 2, 3]], dtype=np.float32)
    bias = request_from_tensors({**MINIMAL, "embedding_bias": tensor}, "").embedding_bias
    tensor[:] = 0
    assert bias is not None
    assert bias.tolist() == [1, 2, 3]


def test_an_empty_bias_is_none() -> None:
    tensors = {**MINIMAL, "embedding_bias": np.zeros((1, 0), np.float32)}
    assert request_from_tensors(tensors, "").embedding_bias is None


def test_log_probs_of_short_beams_are_padded() -> None:
    beams = [BeamLogProbs(-3.0, [-1.0, -2.0]), BeamLogProbs(-0.5, [-0.5])]
    event = TokenEvent([[4, 5], [6]], is_final=True, log_probs=beams)
    outputs = tensors_from_event(event, EngineRequest("", [1], 5))
    assert outputs["cum_log_probs"].tolist() == [[-3.0, -0.5]]
    assert outputs["output_log_probs"].tolist() == [[[-1.0, -2.0], [-0.5, -1.0]]]


def test_early_stopping_may_be_a_bool() -> None:
    request = request_from_tensors({**MINIMAL, "early_stopping": flag(False)}, "")
    assert request.sampling.early_stopping == 0


def test_a_float32_keeps_the_decimal_it_was_written_with() -> None:
    request = request_from_tensors({**MINIMAL, "runtime_top_p": float32(0.9)}, "")
    assert request.sampling.top_p == 0.9


GREEDY, DRAWN = True, False
GREEDY_TABLE = [
    # temperature, top-k and top-p as sent; what the C++ backend does with them
    (0.5, None, None, GREEDY),
    (0.5, 1, 0.9, GREEDY),
    (0.5, 0, 0.0, GREEDY),
    (0.5, 0, -1.0, GREEDY),
    (0.5, 0, None, GREEDY),
    (0.0, 0, None, GREEDY),
    (0.0, 0, 0.9, GREEDY),
    (0.0, 40, 0.9, GREEDY),
    (0.0, None, None, GREEDY),
    (0.0, None, 0.9, DRAWN),
    (0.5, 40, None, DRAWN),
    (0.5, None, 0.9, DRAWN),
    (0.5, 0, 0.9, DRAWN),
    (0.5, 40, 0.9, DRAWN),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "greedy"), GREEDY_TABLE)
def test_what_is_greedy_is_what_is_so_in_tensorrt_llm(
    temperature: float, top_k: int | None, top_p: float | None, greedy: bool
) -> None:
    tensors = {**MINIMAL, "temperature": float32(temperature)}
    if top_k is not None:
        tensors["runtime_top_k"] = int32(top_k)
    if top_p is not None:
        tensors["runtime_top_p"] = float32(top_p)
    assert is_greedy(request_from_tensors(tensors, "").sampling) is greedy


def test_temperature_zero_with_top_p_alone_draws_from_the_whole_distribution() -> None:
    tensors = {**MINIMAL, "temperature": float32(0), "runtime_top_p": float32(0.9)}
    expected = SamplingConfig(temperature=1.0, top_p=1.0)
    assert request_from_tensors(tensors, "").sampling == expected


def test_counts_are_sent_when_asked_for() -> None:
    tensors = {"return_num_input_tokens": flag(True), "return_num_output_tokens": flag(True)}
    counts = counts_asked(tensors)
    request = EngineRequest("", [1, 2, 3], 5)
    outputs = tensors_from_event(TokenEvent([[4, 5], [6]], is_final=True), request, counts)
    assert outputs["num_input_tokens"].tolist() == [[3]]
    assert outputs["num_output_tokens"].tolist() == [[3]]
    assert outputs["num_output_tokens"].dtype == np.int32


def test_counts_are_not_sent_otherwise() -> None:
    assert counts_asked({"return_num_input_tokens": flag(False)}) == frozenset()


def test_a_stop_order_is_recognised() -> None:
    assert wants_stop({"stop": flag(True)})
    assert not wants_stop({"stop": flag(False)})
    assert not wants_stop({})


@pytest.mark.parametrize("empty", [np.zeros((1, 2, 0), np.int32), [[[0], [-1]]]])
def test_an_empty_word_list_holds_no_words(empty: Any) -> None:
    tensors = {**MINIMAL, "stop_words_list": np.array(empty, dtype=np.int32)}
    assert request_from_tensors(tensors, "").stop_words == []


BROKEN_LISTS = [
    ([[[5, 6], [2, 2]]], "strictly increasing"),
    ([[[5, 6], [2, 1]]], "strictly increasing"),
    ([[[5, 6], [0, -1]]], "greater than 0"),
    ([[[5, 6], [-2, -1]]], "greater than 0"),
    ([[[5, 6], [3, -1]]], "beyond its 2 token ids"),
    ([[[5, 6], [-1, 2]]], "after the first -1"),
    ([[5, 6], [1, 2]], r"shape \[2, 2\]; it must be \[1, 2, n\]"),
    ([[[5, 6]]], r"shape \[1, 1, 2\]"),
]


@pytest.mark.parametrize("name", ["stop_words_list", "bad_words_list"])
@pytest.mark.parametrize(("value", "text"), BROKEN_LISTS)
def test_a_broken_word_list_is_refused(name: str, value: Any, text: str) -> None:
    with pytest.raises(RequestRefusedError, match=f"{name}.*{text}"):
        request_from_tensors({**MINIMAL, name: np.array(value, dtype=np.int32)}, "")


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"request_output_len": int32(5)}, "input_ids is missing"),
        ({"input_ids": MINIMAL["input_ids"]}, "request_output_len is missing"),
        ({**MINIMAL, "input_ids": np.ones((2, 3), np.int32)}, "one prompt per request"),
        ({**MINIMAL, "input_ids": np.ones(3, np.int32)}, "one prompt per request"),
        (
            {**MINIMAL, "temperature": np.ones((1, 2), np.float32)},
            r"Invalid size for tensor temperature: it has shape \[1, 2\]",
        ),
    ],
)
def test_tensors_of_another_shape_are_refused(tensors: dict[str, Any], text: str) -> None:
    with pytest.raises(RequestRefusedError, match=text):
        request_from_tensors(tensors, "")


def test_the_tensor_half_needs_no_torch() -> None:
    code = "import sys, engine_step.tensors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
