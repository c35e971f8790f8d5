"""Log-probabilities against transformers' scores and against the model's own logits."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from engine_step.interface import TokenEvent
from support.engine_harness import Replies, Served, request

PROMPT = [17, 300, 42, 42, 9]
LENGTH = 10


def final(served: Served, **fields: Any) -> TokenEvent:
    replies = Replies()
    served.engine.submit(request(PROMPT, LENGTH, return_log_probs=True, **fields), replies)
    event = replies.final()
    assert event.error is None, event.error
    return event


@torch.inference_mode()
def log_probs_of(served: Served, tokens: list[int], temperature: float = 1.0) -> list[float]:
    """What the model itself thinks of `tokens` after the prompt."""
    logits = served.oracle.model(torch.tensor([PROMPT + tokens])).logits[0, len(PROMPT) - 1 : -1]
    log_probs = torch.log_softmax(logits / temperature, dim=-1)
    return [float(row[token]) for row, token in zip(log_probs, tokens, strict=True)]


@pytest.mark.parametrize(
    "fields",
    [{}, {"temperature": 0.5}, {"top_k": 30, "seed": 4}, {"top_p": 0.8, "temperature": 1.5}],
    ids=str,
)
def test_they_are_the_models_after_the_temperature_and_before_truncation(
    llama: Served, fields: dict[str, Any]
) -> None:
    event = final(llama, **fields)
    assert event.log_probs is not None
    [beam] = event.log_probs
    expected = log_probs_of(llama, event.output_ids[0], fields.get("temperature", 1.0))
    assert beam.tokens == pytest.approx(expected, abs=1e-4)
    assert beam.cumulative == pytest.approx(sum(expected), abs=1e-3)


def test_the_end_ids_counts_in_the_sum_only(llama: Served) -> None:
    plain = final(llama).output_ids[0]
    end_id = plain[4]
    event = final(llama, end_id=end_id)
    tokens = plain[: plain.index(end_id)]
    assert event.log_probs is not None
    assert event.output_ids == [tokens]
    assert len(event.log_probs[0].tokens) == len(tokens)
    expected = sum(log_probs_of(llama, [*tokens, end_id]))
    assert event.log_probs[0].cumulative == pytest.approx(expected, abs=1e-3)


def test_a_stream_repeats_them_from_the_first_token_on(llama: Served) -> None:
    replies = Replies()
    llama.engine.submit(request(PROMPT, 4, return_log_probs=True, streaming=True), replies)
    told = [event.log_probs[0].tokens for event in replies.all() if event.log_probs]
    assert [len(tokens) for tokens in told] == [1, 2, 3, 4]
    assert told[0] == told[-1][:1]


def test_nobody_gets_them_unasked(llama: Served) -> None:
    replies = Replies()
    llama.engine.submit(request(PROMPT, 2), replies)
    assert replies.final().log_probs is None


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("len_penalty", [0.0, 1.0, 1.5])
def test_beams_have_the_scores_of_transformers(
    served: Served, width: int, len_penalty: float
) -> None:
    rng = random.Random(width)
    end_id = rng.choice(served.oracle.generate(PROMPT, LENGTH, do_sample=False)[0])
    event = final(served, beam_width=width, len_penalty=len_penalty, end_id=end_id)
    with torch.inference_mode():
        output = served.oracle.model.generate(
            torch.tensor([PROMPT]),
            attention_mask=torch.ones(1, len(PROMPT), dtype=torch.int64),
            max_new_tokens=LENGTH,
            pad_token_id=0,
            eos_token_id=end_id,
            do_sample=False,
            num_beams=width,
            num_return_sequences=width,
            length_penalty=len_penalty,
            early_stopping=True,
            return_dict_in_generate=True,
            output_scores=True,
        )
    assert event.log_probs is not None
    scores = []
    for tokens, beam in zip(event.output_ids, event.log_probs, strict=True):
        length = len(tokens) + (len(tokens) < LENGTH)  # the end id counts
        scores.append(beam.cumulative / length**len_penalty)
        assert len(beam.tokens) == len(tokens)
        assert beam.tokens == pytest.approx(log_probs_of(served, tokens), abs=1e-4)
    assert scores == pytest.approx(output.sequences_scores.tolist(), abs=1e-4)


def test_diversity_adds_to_the_scores_of_later_rows(llama: Served) -> None:
    plain, diverse = (
        final(llama, beam_width=4, len_penalty=1.0, beam_search_diversity_rate=rate)
        for rate in (0.0, 2.0)
    )
    assert plain.output_ids != diverse.output_ids
    assert plain.log_probs is not None
    assert diverse.log_probs is not None
    assert diverse.log_probs[0].cumulative > plain.log_probs[0].cumulative


def test_a_bias_decides_and_is_part_of_the_log_probs(llama: Served) -> None:
    bias = np.zeros(100, dtype=np.float32)
    bias[77] = 100
    for fields in ({}, {"beam_width": 2}, {"top_k": 5}):
        event = final(llama, embedding_bias=bias, **fields)
        assert event.output_ids[0] == [77] * LENGTH
        assert event.log_probs is not None
        assert event.log_probs[0].cumulative == pytest.approx(0, abs=1e-3)
