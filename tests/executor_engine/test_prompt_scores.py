"""Log probabilities of prompts from the executor's context logits, against the model's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from engine_step.interface import Engine, RequestRefusedError, TokenEvent
from executor_engine.prompt_scores import score_prompt
from support.engine_harness import Oracle, Replies, request

Open = Callable[..., Engine]
PROMPT = [3, 1, 4, 1, 5]
LONG_PROMPT = [(7 * index + index // 3) % 290 for index in range(300)]
"""Scored in two pieces."""


@pytest.fixture
def gathering(opened: Open) -> Engine:
    return opened(gather_context_logits=True)


def events(engine: Engine, *args: Any, **fields: Any) -> list[TokenEvent]:
    replies = Replies()
    engine.submit(request(*args, **fields), replies)
    found = replies.all()
    assert found[-1].error is None, found[-1].error
    return found


@torch.inference_mode()
def models_own(oracle: Oracle, prompt: list[int]) -> torch.Tensor:
    """Float32 [tokens, vocab]; row i is what the model thinks of token i + 1."""
    logits = oracle.model(torch.tensor([prompt])).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


@pytest.mark.parametrize("prompt", [PROMPT, LONG_PROMPT, [5]], ids=len)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_prompts_log_probs_are_the_models_own(
    gathering: Engine, oracle: Oracle, prompt: list[int], streaming: bool
) -> None:
    sampling = {"temperature": 0.3, "repetition_penalty": 2.0}
    first, *others = events(
        gathering, prompt, 4, prompt_logprobs=3, streaming=streaming, **sampling
    )
    assert all(each.prompt is None for each in others)
    assert first.prompt is not None
    assert first.prompt.top is not None
    expected = models_own(oracle, prompt)
    own = [float(row[token]) for row, token in zip(expected, prompt[1:], strict=False)]
    assert first.prompt.token_ids == prompt
    assert first.prompt.log_probs == pytest.approx([0.0, *own], abs=1e-4)
    assert first.prompt.top.ids[0] == [-1, -1, -1]
    assert len(first.prompt.top.ids) == len(first.prompt.top.log_probs) == len(prompt)
    best = torch.topk(expected[:-1], 3)
    assert first.prompt.top.ids[1:] == best.indices.tolist()
    for found, row in zip(first.prompt.top.log_probs[1:], best.values.tolist(), strict=True):
        assert found == pytest.approx(row, abs=1e-4)


def test_the_reply_of_a_scored_prompt_is_what_it_is_without(
    gathering: Engine, oracle: Oracle
) -> None:
    expected = oracle.generate(PROMPT, 12, do_sample=False)[0]
    streamed = events(gathering, PROMPT, 12, prompt_logprobs=0, streaming=True)
    assert [token for each in streamed for token in each.output_ids[0]] == expected
    assert streamed[0].prompt is not None
    assert streamed[0].prompt.top is None


def test_a_prompt_whose_cache_is_reused_is_scored_whole(opened: Open) -> None:
    """Of the part that is reused the executor has no logits (handleContextLogits.cpp)."""
    engine = opened(gather_context_logits=True, enable_kv_cache_reuse="true")
    events(engine, LONG_PROMPT, 2)
    once, twice = (events(engine, LONG_PROMPT, 2, prompt_logprobs=0)[0].prompt for _ in range(2))
    assert once is not None
    assert twice is not None
    assert twice.log_probs == pytest.approx(once.log_probs, abs=1e-4)
    assert all(once.log_probs[1:])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_one_token_after_a_scored_prompt_has_likely_ones_beside_it(
    gathering: Engine, oracle: Oracle, temperature: float
) -> None:
    (event,) = events(
        gathering,
        PROMPT,
        1,
        prompt_logprobs=1,
        top_logprobs=4,
        return_log_probs=True,
        temperature=temperature,
    )
    best = torch.topk(torch.log_softmax(models_own(oracle, PROMPT)[-1] / temperature, -1), 4)
    assert event.top is not None
    assert event.top.ids == [best.indices.tolist()]
    assert event.top.log_probs[0] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert event.log_probs is not None
    assert event.log_probs[0].tokens == pytest.approx(event.top.log_probs[0][:1], abs=1e-4)


@pytest.mark.parametrize(
    "fields", [{}, {"repetition_penalty": 1.2}, {"bad_words": [[7]]}, {"min_tokens": 1}]
)
def test_likely_tokens_that_the_context_logits_do_not_show_are_refused(
    gathering: Engine, fields: dict[str, Any]
) -> None:
    length = 1 if fields else 2
    with pytest.raises(RequestRefusedError, match="top_logprobs is 2, but TensorRT-LLM returns"):
        events(gathering, PROMPT, length, prompt_logprobs=0, top_logprobs=2, **fields)


def test_a_request_that_is_cancelled_while_its_prompt_is_scored_ends(gathering: Engine) -> None:
    replies = Replies()
    asked = request(LONG_PROMPT, 180, request_id="left", prompt_logprobs=5, streaming=True)
    gathering.submit(asked, replies)
    gathering.cancel("left")
    assert replies.final().finish_reasons == ["cancelled"]


def test_shutting_down_ends_what_is_scored(opened: Open) -> None:
    engine = opened(gather_context_logits=True)
    replies = [Replies() for _ in range(4)]
    for each in replies:
        engine.submit(request(LONG_PROMPT, 180, prompt_logprobs=5), each)
    engine.shutdown()
    assert all(each.final().error is not None for each in replies)


def test_logits_of_another_shape_are_an_error_of_the_request() -> None:
    with pytest.raises(RuntimeError, match=r"shape \[4, 300\] for a prompt of 5 tokens"):
        score_prompt(request(PROMPT, 1, prompt_logprobs=0), torch.zeros(4, 300), 300)


def test_an_engine_that_was_built_without_says_how_to_build_it(engine: Engine) -> None:
    with pytest.raises(RequestRefusedError, match="build it with --gather-context-logits"):
        events(engine, PROMPT, 1, prompt_logprobs=0)
