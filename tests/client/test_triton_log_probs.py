"""Log probabilities and biases from the engine through the ensemble."""

import asyncio
import math
from typing import Any

import pytest

from aeolus_client import GenerationRequest, TritonClient
from launcher.server import TritonServer
from support.asking import QUESTION, Ask

pytestmark = pytest.mark.server


@pytest.mark.parametrize("values", [{}, {"max_tokens": 6}, {"beam_width": 3}, {"top_p": 0.9}])
def test_every_token_of_a_reply_has_its_log_probability(ask: Ask, values: dict[str, Any]) -> None:
    reply = ask(return_log_probs=True, seed=7, **values)
    assert len(reply.log_probs) == len(reply.output_ids) == reply.completion_tokens
    assert all(value <= 0 for value in reply.log_probs)


def test_a_stream_has_the_log_probabilities_of_the_whole_reply(ask: Ask) -> None:
    whole, streamed = (ask(return_log_probs=True, stream=stream) for stream in (False, True))
    assert streamed.log_probs == pytest.approx(whole.log_probs, abs=1e-5)
    assert streamed.output_ids == whole.output_ids


def test_a_slow_reader_learns_the_text_of_each_token_too(triton: TritonServer) -> None:
    async def texts(pause: float) -> list[str]:
        client = TritonClient(triton.grpc_address)
        request = GenerationRequest(
            messages=QUESTION, max_tokens=200, end_ids=[], stream=True, return_log_probs=True
        )
        found: list[str] = []
        async for chunk in client.stream(request):
            found += chunk.token_texts
            await asyncio.sleep(pause if len(found) == 1 else 0)
        await client.close()
        return found

    quick, slow = (asyncio.run(texts(pause)) for pause in (0, 2))
    assert len(slow) == 200
    assert slow == quick


def test_a_repeated_prompt_has_none(ask: Ask) -> None:
    plain, echoed = (
        ask(return_log_probs=True, exclude_input_in_output=exclude) for exclude in (True, False)
    )
    assert echoed.output_ids == plain.output_ids
    assert echoed.log_probs == pytest.approx(plain.log_probs, abs=1e-5)


def test_none_are_sent_that_were_not_asked_for(ask: Ask) -> None:
    assert ask().log_probs == []


def test_a_bias_makes_a_token_certain_or_impossible(ask: Ask) -> None:
    plain = ask()
    token = plain.output_ids[1]
    assert set(ask(embedding_bias={token: 1000.0}).output_ids) == {token}
    for weight in (-1000.0, -math.inf):
        assert token not in ask(embedding_bias={token: weight}).output_ids


@pytest.mark.parametrize(
    "values",
    [
        {"top_p": 0.9, "top_p_decay": 0.9, "top_p_min": 0.1, "top_p_reset_ids": 5},
        {"beam_width": 3, "beam_search_diversity_rate": 0.5},
    ],
)
def test_the_engine_takes_the_rarer_sampling_values(ask: Ask, values: dict[str, Any]) -> None:
    assert ask(seed=3, **values).completion_tokens > 0
