"""What the ensemble refuses is told under the names that the request used."""

from collections.abc import Collection

import pytest

from aeolus_client import InvalidRequestError
from shim.parameters.refusals import RefusedParameterError, in_request_names


@pytest.mark.parametrize(
    ("refusal", "given", "told", "parameter"),
    [
        ("end_ids holds 9999", {"eos_token_id"}, "eos_token_id holds 9999", "eos_token_id"),
        ("embedding_bias_ids holds 9", {"logit_bias"}, "logit_bias holds 9", "logit_bias"),
        (
            "embedding_bias_ids holds 9",
            {"suppress_tokens", "logit_bias"},
            "suppress_tokens or logit_bias holds 9",
            "suppress_tokens",
        ),
        ("beam_width is 4; widths 1 to 2", set(), "num_beams is 4; widths 1 to 2", "num_beams"),
        ("min_total_length is 9", {"min_length"}, "min_length is 9", "min_length"),
        ("input_ids holds 9", {"inputs"}, "inputs holds 9", "inputs"),
        ("input_ids holds 9", {"prompt"}, "prompt holds 9", "prompt"),
        ("text_input has 9 bytes", {"prompt"}, "prompt has 9 bytes", "prompt"),
        ("stop has 65 strings", {"stop", "max_time"}, "stop has 65 strings", "stop"),
        (
            "stop has 65 strings",
            {"stop_strings", "max_time"},
            "stop_strings has 65 strings",
            "stop_strings",
        ),
        ("the prompt has 9 tokens", {"prompt"}, "the prompt has 9 tokens", "prompt"),
        ("the prompt has 9 tokens", {"messages"}, "the prompt has 9 tokens", "messages"),
        ("the prompt has 9 tokens", {"input_ids"}, "the prompt has 9 tokens", "input_ids"),
        (
            "the engine holds back one end id; send one in end_ids",
            {"min_new_tokens"},
            "the engine holds back one end id; send one in eos_token_id",
            "eos_token_id",
        ),
        ("the wind is too strong", {"prompt"}, "the wind is too strong", None),
    ],
)
def test_parameters_are_named(
    refusal: str, given: Collection[str], told: str, parameter: str | None
) -> None:
    with pytest.raises(RefusedParameterError) as raised, in_request_names(given):
        raise InvalidRequestError(refusal)
    assert str(raised.value) == told
    assert raised.value.parameter == parameter
