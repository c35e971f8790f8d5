"""Sampling values are checked once, here, and reach an engine only as it understands them."""

import math

import numpy as np
import pytest

from aeolus_contract.failures import InvalidRequestError
from preprocessing.sampling import Values, check_sampling


def check(values: Values, engine: str = "reference", stream: bool = False) -> Values:
    return check_sampling(values, 4, engine, stream)  # type: ignore[arg-type]


def test_values_in_range_are_kept_as_they_are() -> None:
    values: Values = {
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.95,
        "seed": 2**63,
        "repetition_penalty": 1.2,
        "min_tokens": 3,
        "no_repeat_ngram_size": 2,
    }
    assert check(values) == values


def test_temperature_zero_is_greedy_whatever_else_is_asked() -> None:
    assert check({"temperature": 0.0, "top_p": 0.9}) == {"top_p": 0.9, "top_k": 1}
    assert check({"temperature": 0.0, "top_k": 40}) == {"top_k": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", 1e-38),
        ("temperature", 2e6),
        ("top_k", -1),
        ("top_p", 1.01),
        ("top_p", -0.01),
        ("top_p", math.nan),
        ("top_p_min", 0.0),
        ("top_p_decay", 1.5),
        ("top_p_reset_ids", -1),
        ("beam_search_diversity_rate", -0.1),
        ("min_length", -1),
        ("min_total_length", -1),
        ("repetition_penalty", 0.0),
        ("repetition_penalty", 1e-38),
        ("repetition_penalty", 2e6),
        ("frequency_penalty", -2e6),
        ("beam_search_diversity_rate", 2e6),
        ("length_penalty", 11.0),
        ("presence_penalty", math.inf),
        ("frequency_penalty", math.nan),
        ("min_tokens", -1),
        ("no_repeat_ngram_size", -1),
        ("length_penalty", -0.5),
        ("length_penalty", math.nan),
        ("early_stopping", 3),
        ("num_return_sequences", 2),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{name} is .*; it must be"):
        check({name: value})


@pytest.mark.parametrize("name", ["temperature", "repetition_penalty"])
def test_the_smallest_and_largest_values_are_taken_as_fp32(name: str) -> None:
    for value in (1e-6, 1e6):
        check({name: float(np.float32(value))})


@pytest.mark.parametrize("beam_width", [0, -1, 5])
def test_a_beam_width_the_engine_was_not_started_for_is_refused(beam_width: int) -> None:
    with pytest.raises(InvalidRequestError, match="was started for widths 1 to 4"):
        check({"beam_width": beam_width})


def test_a_streamed_beam_search_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="beam_width is 2 and stream is true"):
        check({"beam_width": 2}, stream=True)


def test_a_beam_search_has_hugging_faces_defaults() -> None:
    assert check({"beam_width": 2}) == {
        "beam_width": 2,
        "length_penalty": 1.0,
        "early_stopping": 0,
    }
    given: Values = {"beam_width": 2, "length_penalty": 0.5, "early_stopping": 2}
    assert check(given) == given


def test_one_return_sequence_is_dropped() -> None:
    assert check({"num_return_sequences": 1}) == {}


@pytest.mark.parametrize(
    ("name", "fixed"), [("length_penalty", 0.0), ("early_stopping", 1), ("no_repeat_ngram_size", 0)]
)
def test_what_tensorrt_llm_1_2_1_misreads_never_reaches_it(name: str, fixed: float) -> None:
    beams: Values = {"beam_width": 2}
    assert check({**beams, name: fixed}, "tensorrtllm-1.2.1") == beams
    with pytest.raises(InvalidRequestError, match=f"{name} is 2, but TensorRT-LLM 1.2.1 mistakes"):
        check({**beams, name: 2}, "tensorrtllm-1.2.1")


def test_what_tensorrt_llm_1_2_1_does_not_read_is_not_sent() -> None:
    default: Values = {"top_p_min": float(np.float32(1e-6))}
    assert check(default) == default
    assert check(default, "tensorrtllm-1.2.1") == {}
    with pytest.raises(InvalidRequestError, match="looks for this value under a wrong name"):
        check({"top_p_min": 0.5}, "tensorrtllm-1.2.1")


@pytest.mark.parametrize("engine", ["reference", "tensorrtllm-1.2.1"])
def test_values_of_a_beam_search_have_no_effect_without_one(engine: str) -> None:
    assert check({"beam_width": 1, "length_penalty": 1.0, "early_stopping": 0}, engine) == {
        "beam_width": 1
    }


def test_a_beam_search_on_tensorrt_llm_1_2_1_is_left_to_its_defaults() -> None:
    assert check({"beam_width": 4}, "tensorrtllm-1.2.1") == {"beam_width": 4}


@pytest.mark.parametrize(
    ("values", "reason"),
    [({"prompt_logprobs": 0}, "of a prompt"), ({"top_logprobs": 2}, "it chose")],
)
def test_log_probabilities_that_an_engine_does_not_have_are_refused_by_reason(
    values: Values, reason: str
) -> None:
    neutral: Values = {"prompt_logprobs": -1, "top_logprobs": 0}
    assert check(neutral, "tensorrtllm-1.2.1") == {}
    assert check(values, "reference") == check(values, "executor-1.2.1") == values
    with pytest.raises(InvalidRequestError, match=reason):
        check(values, "tensorrtllm-1.2.1")
