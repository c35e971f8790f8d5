"""A Triton by HTTP replies what it does by gRPC, down to each token."""

import asyncio
import math
from typing import Any

import pytest

from aeolus_client import (
    Completion,
    GenerationRequest,
    InvalidRequestError,
    ModelNotFoundError,
    ServiceError,
    TritonClient,
)
from aeolus_client.triton.client import gather
from launcher.server import TritonServer
from support.asking import QUESTION

pytestmark = pytest.mark.server

LIKELIEST = pytest.mark.not_on_executor("likely tokens beside those of a reply")
REQUESTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "streamed": {"stream": True},
    "one token": {"max_tokens": 1, "stream": True},
    "raw": {"messages": None, "text_input": 'The "wind" \u2028\t\\ é \U0001f32c\x00'},
    "token ids": {"messages": None, "input_ids": [300, 301, 302]},
    "one token id": {"messages": None, "input_ids": [300]},
    "sampled": {"top_k": 40, "top_p": 0.95, "temperature": 1.5, "seed": 2**64 - 1},
    "stop strings": {"stop": ["breeze", '"\u2028'], "stream": True},
    "kept stop string": {"stop": ["breeze"], "include_stop_str_in_output": True},
    "ends": {"end_ids": [0, 13], "stream": True},
    "no end": {"end_ids": [], "stream": True},
    "bias": {"embedding_bias": {300: -math.inf, 301: 1.5}},
    "bad words": {"bad_words": ["breeze", " breeze"], "bad_words_ids": [[300, 301]]},
    "guided": {"guided_decoding_guide_type": "regex", "guided_decoding_guide": "[a-z ]+é?"},
    "beams": {"beam_width": 3, "length_penalty": 0.5},
    "echo": {"exclude_input_in_output": False},
    "prioritized": {"priority": 0.75, "skip_special_tokens": False, "split_special_tokens": False},
    "logarithms": {"return_log_probs": True, "stream": True},
    "logarithms of beams": {"return_log_probs": True, "beam_width": 2},
    "likeliest": {
        "return_log_probs": True,
        "top_logprobs": 3,
        "prompt_logprobs": 2,
        "embedding_bias": {300: -math.inf},
        "stream": True,
    },
    "likeliest one": {"return_log_probs": True, "top_logprobs": 1, "prompt_logprobs": 0},
}


def replies(triton: TritonServer, **values: Any) -> list[Completion]:
    """The reply by gRPC, and the one by HTTP."""

    async def run() -> list[Completion]:
        found = []
        for address in (triton.grpc_address, triton.http_url):
            client = TritonClient(address)
            try:
                found.append(await client.complete(GenerationRequest(**values)))
            finally:
                await client.close()
        return found

    return asyncio.run(run())


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(values, id=name, marks=LIKELIEST if "top_logprobs" in values else ())
        for name, values in REQUESTS.items()
    ],
)
def test_the_reply_is_that_of_grpc(triton: TritonServer, values: dict[str, Any]) -> None:
    defaults = {"messages": QUESTION, "max_tokens": 48, "return_output_ids": True}
    by_grpc, by_http = replies(triton, **{**defaults, **values})
    assert by_grpc.completion_tokens > 0
    assert by_http == by_grpc


def failure(address: str, model: str = "ensemble", **values: Any) -> ServiceError:
    async def run() -> None:
        client = TritonClient(address, model)
        try:
            await gather(client.stream(GenerationRequest(messages=QUESTION, **values)))
        finally:
            await client.close()

    with pytest.raises(ServiceError) as caught:
        asyncio.run(run())
    return caught.value


@pytest.mark.parametrize(
    "values",
    [
        {"max_tokens": -1},
        {"max_tokens": 4, "top_p": 7.0},
        {"max_tokens": 4, "beam_width": 2, "stream": True},
        {"max_tokens": 4, "stop": ["a"] * 65},
        {"max_tokens": 4, "priority": 7.0},
    ],
)
def test_the_refusal_is_that_of_grpc(triton: TritonServer, values: dict[str, Any]) -> None:
    by_grpc, by_http = (failure(each, **values) for each in (triton.grpc_address, triton.http_url))
    assert type(by_http) is type(by_grpc) is InvalidRequestError
    assert str(by_http) == str(by_grpc)


@pytest.mark.parametrize("model", ["gpt-4", "../../etc", "a?b", "gpt 4%2f"])
def test_a_model_that_is_not_there_is_not_found(triton: TritonServer, model: str) -> None:
    assert type(failure(triton.http_url, model, max_tokens=4)) is ModelNotFoundError
