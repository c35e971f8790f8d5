"""Log probabilities of prompts and of tokens that were not chosen, against the model's own."""

from typing import Any

import pytest
import torch

from engine_step.interface import RequestRefusedError, TokenEvent
from support.engine_harness import Replies, Served, request

PROMPT = [17, 300, 42, 42, 9]
LONG_PROMPT = [(7 * index + index // 3) % 290 for index in range(400)]
"""Read in several pieces, and more than one block long."""
LENGTH = 4


def events(served: Served, prompt: list[int] = PROMPT, **fields: Any) -> list[TokenEvent]:
    replies = Replies()
    served.engine.submit(request(prompt, LENGTH, **fields), replies)
    found = replies.all()
    assert found[-1].error is None, found[-1].error
    return found


@torch.inference_mode()
def expected_log_probs(served: Served, tokens: list[int]) -> torch.Tensor:
    """Float32 [tokens, vocab]; row i is what the model thinks of token i + 1."""
    logits = served.oracle.model(torch.tensor([tokens])).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


@pytest.mark.parametrize("prompt", [PROMPT, LONG_PROMPT, [5]], ids=len)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_prompts_log_probs_are_the_models_own(
    served: Served, prompt: list[int], streaming: bool
) -> None:
    first, *others = events(
        served,
        prompt,
        prompt_logprobs=3,
        streaming=streaming,
        temperature=0.3,
        repetition_penalty=2.0,
    )
    assert first.prompt is not None
    assert all(each.prompt is None for each in others)
    assert first.prompt.token_ids == prompt
    log_probs = expected_log_probs(served, prompt)
    own = [float(row[token]) for row, token in zip(log_probs, prompt[1:], strict=False)]
    assert first.prompt.log_probs == pytest.approx([0.0, *own], abs=1e-4)
    assert first.prompt.top is not None
    assert first.prompt.top.ids[0] == [-1, -1, -1]
    assert len(first.prompt.top.ids) == len(first.prompt.top.log_probs) == len(prompt)
    best = torch.topk(log_probs[:-1], 3).values
    for found, row in zip(first.prompt.top.log_probs[1:], best.tolist(), strict=True):
        assert found == pytest.approx(row, abs=1e-4)
    for position, ids in enumerate(first.prompt.top.ids[1:]):
        values = [float(log_probs[position, token]) for token in ids]
        assert values == pytest.approx(first.prompt.top.log_probs[position + 1], abs=1e-4)


def test_a_prompt_that_was_seen_before_is_read_again(llama: Served) -> None:
    once, twice = (events(llama, LONG_PROMPT, prompt_logprobs=0)[0].prompt for _ in range(2))
    assert once is not None
    assert twice is not None
    assert (once.top, len(once.log_probs)) == (None, len(LONG_PROMPT))
    assert twice.log_probs == pytest.approx(once.log_probs, abs=1e-4)


def test_requests_with_and_without_them_share_steps(llama: Served) -> None:
    alone = events(llama)[-1].output_ids
    replies = [Replies() for _ in range(4)]
    for number, each in enumerate(replies):
        wanted = {"prompt_logprobs": 2} if number % 2 else {}
        llama.engine.submit(request(PROMPT, LENGTH, request_id=str(number), **wanted), each)
    finals = [each.final() for each in replies]
    assert all(each.output_ids == alone for each in finals)
    assert [each.prompt is not None for each in finals] == [False, True, False, True]


@pytest.mark.parametrize("fields", [{}, {"top_k": 50, "seed": 3, "temperature": 2.0}], ids=str)
def test_the_likeliest_tokens_are_told_in_the_place_of_each(
    llama: Served, fields: dict[str, Any]
) -> None:
    event = events(llama, top_logprobs=4, return_log_probs=True, **fields)[-1]
    tokens = event.output_ids[0]
    assert event.top is not None
    assert event.log_probs is not None
    log_probs = expected_log_probs(llama, PROMPT + tokens)[len(PROMPT) - 1 : -1]
    log_probs = torch.log_softmax(log_probs / fields.get("temperature", 1.0), dim=-1)
    assert event.top.ids == torch.topk(log_probs, 4).indices.tolist()
    for found, row in zip(event.top.log_probs, torch.topk(log_probs, 4).values, strict=True):
        assert found == pytest.approx(row.tolist(), abs=1e-4)
    if not fields:
        assert [ids[0] for ids in event.top.ids] == tokens
        assert [row[0] for row in event.top.log_probs] == event.log_probs[0].tokens


def test_a_stream_tells_them_with_their_tokens(llama: Served) -> None:
    whole = events(llama, top_logprobs=2)[-1].top
    assert whole is not None
    ids: list[list[int]] = []
    for event in events(llama, top_logprobs=2, streaming=True):
        if event.top is not None:
            assert len(event.top.ids) == len(event.output_ids[0])
            ids += event.top.ids
    assert ids == whole.ids


def test_the_end_id_has_none(llama: Served) -> None:
    end_id = events(llama)[-1].output_ids[0][2]
    event = events(llama, top_logprobs=2, end_id=end_id)[-1]
    assert event.top is not None
    assert len(event.top.ids) == len(event.output_ids[0]) < LENGTH


def test_nobody_gets_them_unasked(llama: Served) -> None:
    (event,) = events(llama, return_log_probs=True)
    assert (event.top, event.prompt) == (None, None)


def test_beams_have_none_of_other_tokens(llama: Served) -> None:
    with pytest.raises(RequestRefusedError, match="top_logprobs is 2; it must be 0 where"):
        llama.engine.submit(request(PROMPT, LENGTH, top_logprobs=2, beam_width=2), Replies())
    event = events(llama, prompt_logprobs=1, beam_width=2)[-1]
    assert event.prompt is not None
    assert len(event.prompt.log_probs) == len(PROMPT)
