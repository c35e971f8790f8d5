"""The parameters that the client takes by name, and what they become for a Triton."""

import math
from typing import Any

import pytest

from aeolus_client.backend import TextRequest
from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import GenerationRequest
from aeolus_client.parameters import GenerateParameters
from aeolus_client.triton.parameters import AS_THEY_ARE, READERS, SAMPLING, generation_request
from aeolus_client.triton.tensors import input_tensors, request_parameters
from scripts.generate import NOT_BY_NAME
from shim.parameters.table import generate_map

NEVER = 2
OFFERED = set(GenerateParameters.__annotations__)


def translated(**parameters: Any) -> GenerationRequest:
    return generation_request(TextRequest(text="a", parameters=parameters))


def test_every_name_is_a_parameter_that_the_service_acts_on() -> None:
    served = {name for name, row in generate_map().items() if row.category in ("native", "derived")}
    assert OFFERED | {*NOT_BY_NAME} == served
    assert {*AS_THEY_ARE, *READERS, *SAMPLING} <= OFFERED


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"max_new_tokens": 3}, "max_tokens", 3),
        ({"stop": "."}, "stop", ["."]),
        ({"stop_strings": [".", "!"]}, "include_stop_str_in_output", True),
        ({"eos_token_id": [5, -1]}, "end_ids", [5]),
        ({"do_sample": False, "top_k": 9, "temperature": 0.5}, "top_k", 1),
        ({"temperature": 0, "top_p": 0.5}, "top_p", None),
        ({"early_stopping": "never"}, "early_stopping", NEVER),
        ({"priority": 0.75}, "priority", 0.75),
        (
            {"suppress_tokens": 7, "logit_bias": {"7": 1, "8": 2}, "sequence_bias": [[[8], 1]]},
            "embedding_bias",
            {7: -math.inf, 8: 3.0},
        ),
        ({"top_p": None}, "top_p", None),
        ({"response_format": {"type": "text"}}, "guided_decoding_guide", None),
        (
            {"response_format": {"type": "json_object"}},
            "guided_decoding_guide",
            '{"type": "object"}',
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {}},
                }
            },
            "guided_decoding_guide",
            "{}",
        ),
        (
            {"guided_decoding": {"type": "regex", "guide": "a+"}},
            "guided_decoding_guide_type",
            "regex",
        ),
    ],
)
def test_a_parameter_becomes_a_field(given: dict[str, Any], field: str, value: object) -> None:
    assert getattr(translated(**given), field) == value


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"stop": 5}, "stop cannot be 5"),
        ({"stop": [5]}, "stop cannot be"),
        ({"eos_token_id": "x"}, "eos_token_id cannot be 'x'"),
        ({"logit_bias": 3}, "logit_bias cannot be 3"),
        ({"sequence_bias": [[[1, 2], 3]]}, "sequence_bias cannot be"),
        ({"early_stopping": "soon"}, "early_stopping cannot be 'soon'"),
        ({"response_format": {"type": "xml"}}, "response_format cannot be .*type is text"),
        ({"guided_decoding": {}}, "guided_decoding cannot be {}"),
        ({"max_time": 3}, "max_time: Triton has no tensor for it"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be a number"),
        ({"top_k": 5.7}, "top_k is 5.7; it must be an integer"),
        ({"top_k": True}, "top_k is True"),
        ({"max_tokens": 2**40}, "max_tokens is 1099511627776; it must fit in INT32"),
    ],
)
def test_a_value_of_another_form_is_an_invalid_request(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        input_tensors(translated(**given))


def test_text_that_is_no_unicode_is_an_invalid_request() -> None:
    with pytest.raises(InvalidRequestError, match="surrogates not allowed"):
        input_tensors(generation_request(TextRequest(text="\ud800")))
    wrong: Any = [{"role": "user", "content": b"bytes"}]
    with pytest.raises(InvalidRequestError, match="messages"):
        input_tensors(generation_request(TextRequest(messages=wrong)))


def test_a_priority_is_a_number() -> None:
    with pytest.raises(InvalidRequestError, match="priority is 'high'"):
        request_parameters(translated(priority="high"))
