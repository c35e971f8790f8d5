"""What the ensemble refuses is told under the names that the request used."""

from collections.abc import Collection

import pytest

from client import InvalidRequestError
from shim.generate.refusals import under_their_names


@pytest.mark.parametrize(
    ("refusal", "given", "told"),
    [
        ("end_ids holds 9999", {"eos_token_id"}, "eos_token_id holds 9999"),
        ("embedding_bias_ids holds 9", {"logit_bias"}, "logit_bias holds 9"),
        (
            "embedding_bias_ids holds 9",
            {"suppress_tokens", "logit_bias"},
            "suppress_tokens or logit_bias holds 9",
        ),
        ("beam_width is 4; widths 1 to 2", set(), "num_beams is 4; widths 1 to 2"),
        ("min_total_length is 9", {"min_length"}, "min_length is 9"),
        ("input_ids holds 9", {"inputs"}, "inputs holds 9"),
        ("input_ids holds 9", {"prompt"}, "prompt holds 9"),
        ("text_input has 9 bytes", {"prompt"}, "prompt has 9 bytes"),
        ("stop has 65 strings", {"stop", "max_time"}, "stop has 65 strings"),
        ("stop has 65 strings", {"stop_strings", "max_time"}, "stop_strings has 65 strings"),
        ("the prompt has 9 tokens", {"prompt"}, "the prompt has 9 tokens"),
    ],
)
def test_parameters_are_named(refusal: str, given: Collection[str], told: str) -> None:
    with pytest.raises(InvalidRequestError) as raised, under_their_names(given):
        raise InvalidRequestError(refusal)
    assert str(raised.value) == told
