"""Requests that share a batch get what transformers gives each of them alone."""

import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine_step.interface import EngineRequest, TokenEvent
from reference_engine.engine import ReferenceEngine
from support.engine_harness import Oracle, Replies, Served, ask, request

pytestmark = pytest.mark.slow

VOCAB = 512


def prompts(rng: random.Random, count: int) -> list[list[int]]:
    lengths = [rng.choice([1, 3, 9, 33, 120]) for _ in range(count)]
    return [[rng.randrange(VOCAB) for _ in range(length)] for length in lengths]


def arrive(rng: random.Random, items: list[Any]) -> Iterator[Any]:
    """Yield the items in bursts with pauses of up to a few decode steps."""
    for item in items:
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.02)
        yield item


def test_greedy_requests_at_random_times_equal_generate(served: Served) -> None:
    rng = random.Random(1)
    started = []
    for prompt in arrive(rng, prompts(rng, 30)):
        length = rng.randrange(1, 40)
        replies = Replies()
        served.engine.submit(request(prompt, length, streaming=True), replies)
        started.append((prompt, length, replies))
    for prompt, length, replies in started:
        expected = served.oracle.generate(prompt, length, do_sample=False)
        assert replies.streamed() == expected[0]


def test_a_prompt_longer_than_one_prefill_chunk_equals_generate(served: Served) -> None:
    prompt = [random.Random(2).randrange(VOCAB) for _ in range(400)]
    expected = served.oracle.generate(prompt, 12, do_sample=False)
    assert ask(served.engine, request(prompt, 12)) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 20},
        {"top_k": 0, "top_p": 0.9, "temperature": 0.7},
        {"top_k": 50, "top_p": 0.8, "temperature": 1.5, "repetition_penalty": 1.3},
        {"top_k": 5, "no_repeat_ngram_size": 2, "temperature": 0.5},
    ],
)
def test_seeded_sampling_in_a_batch_equals_generate(
    served: Served, options: dict[str, Any]
) -> None:
    rng = random.Random(3)
    started = []
    for seed, prompt in enumerate(prompts(rng, 6)):
        replies = Replies()
        served.engine.submit(request(prompt, 20, seed=seed, **options), replies)
        started.append((seed, prompt, replies))
    for seed, prompt, replies in started:
        expected = served.oracle.generate(prompt, 20, do_sample=True, seed=seed, **options)
        assert replies.beams() == expected


EARLY_STOPPING = {0: False, 1: True, 2: "never"}


@pytest.mark.parametrize("early_stopping", EARLY_STOPPING)
@pytest.mark.parametrize("width", [2, 4])
def test_beam_search_equals_generate(served: Served, width: int, early_stopping: int) -> None:
    rng = random.Random(width)
    started = []
    for prompt in prompts(rng, 4):
        # An end id that is likely to come up, so that beams really finish at different lengths.
        greedy = served.oracle.generate(prompt, 12, do_sample=False)[0]
        for len_penalty in (0.6, 1.0, 1.5):
            end_id = rng.choice(greedy)
            replies = Replies()
            fields: dict[str, Any] = {
                "beam_width": width,
                "len_penalty": len_penalty,
                "early_stopping": early_stopping,
            }
            served.engine.submit(request(prompt, 12, end_id=end_id, **fields), replies)
            started.append((prompt, end_id, len_penalty, replies))
    for prompt, end_id, len_penalty, replies in started:
        expected = served.oracle.generate(
            prompt,
            12,
            end_id=end_id,
            do_sample=False,
            num_beams=width,
            num_return_sequences=width,
            length_penalty=len_penalty,
            early_stopping=EARLY_STOPPING[early_stopping],
        )
        assert replies.beams() == expected


def mixed_case(rng: random.Random) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the fields of a random request and the options of generate that mean the same."""
    shared: dict[str, Any] = {}
    if rng.random() < 0.3:
        shared["repetition_penalty"] = rng.choice([0.8, 1.2, 2.0])
    if rng.random() < 0.3:
        shared["no_repeat_ngram_size"] = rng.choice([1, 2, 3])
    kind = rng.choice(["greedy", "sampled", "beams"])
    bad_words = [[rng.randrange(VOCAB)], [rng.randrange(VOCAB) for _ in range(2)]]
    min_tokens = rng.choice([0, 5])
    biases = [3 * rng.random() for _ in range(100)]
    bias = np.array(biases, np.float32) if rng.random() < 0.3 else None
    fields = {
        **shared,
        "bad_words": bad_words,
        "min_tokens": min_tokens,
        "embedding_bias": bias,
        "return_log_probs": rng.random() < 0.5,
    }
    options = {**shared, "bad_words_ids": bad_words, "min_new_tokens": min_tokens, "bias": bias}
    if kind == "greedy":
        return fields, {**options, "do_sample": False}
    if kind == "sampled":
        draw = {
            "seed": rng.randrange(2**32),
            "temperature": rng.choice([0.5, 1.0, 1.7]),
            "top_k": rng.choice([3, 40, VOCAB]),
            "top_p": rng.choice([0.5, 0.9, 1.0]),
        }
        return fields | draw, {**options, **draw, "do_sample": True}
    width = rng.choice([2, 3, 4])
    penalty = rng.choice([0.0, 1.0, 1.5])
    early = rng.choice([0, 1, 2])
    fields |= {"beam_width": width, "len_penalty": penalty, "early_stopping": early}
    return fields, {
        **options,
        "do_sample": False,
        "num_beams": width,
        "num_return_sequences": width,
        "length_penalty": penalty,
        "early_stopping": EARLY_STOPPING[early],
    }


class CancelHalfWay:
    """Replies that cancel their own stream at its third event."""

    def __init__(self, engine: ReferenceEngine, request_id: str) -> None:
        self.replies = Replies()
        self._engine, self._request_id = engine, request_id
        self._num_events = 0

    def __call__(self, event: TokenEvent) -> None:
        self._num_events += 1
        if self._num_events == 3:
            self._engine.cancel(self._request_id)
        self.replies(event)


def mixed_requests(
    rng: random.Random, oracle: Oracle
) -> list[tuple[EngineRequest, dict[str, Any], bool]]:
    """Return requests of every kind, the options of generate, and whether to cancel half-way."""
    cases = []
    for number, prompt in enumerate(prompts(rng, 120)):
        fields, options = mixed_case(rng)
        cancelled = rng.random() < 0.2
        # A likely end id half of the time, so that many end early and rows move about.
        likely = rng.random() < 0.5
        end_id = rng.choice(oracle.generate(prompt, 6, bias=options["bias"])[0]) if likely else -1
        one = request(
            prompt,
            rng.randrange(8, 24),
            request_id=f"mixed-{number}",
            end_id=end_id,
            streaming=cancelled or rng.random() < 0.5,
            **fields,
        )
        cases.append((one, options, cancelled))
    return cases


def assert_log_probs(event: TokenEvent, expected: list[list[float]]) -> None:
    assert event.log_probs is not None
    for beam, log_probs in zip(event.log_probs, expected, strict=True):
        assert beam.tokens == pytest.approx(log_probs[: len(beam.tokens)], abs=1e-3)
        assert beam.cumulative == pytest.approx(sum(log_probs), abs=1e-3)


def test_mixed_requests_in_one_batch_equal_generate_and_cancelled_ones_are_a_prefix(
    served: Served,
) -> None:
    rng = random.Random(4)
    started = []
    for one, options, cancelled in arrive(rng, mixed_requests(rng, served.oracle)):
        listener = CancelHalfWay(served.engine, one.request_id) if cancelled else Replies()
        served.engine.submit(one, listener)
        started.append((one, options, listener))
    num_cut = 0
    for one, options, listener in started:
        cancelled = isinstance(listener, CancelHalfWay)
        replies = listener.replies if isinstance(listener, CancelHalfWay) else listener
        expected, log_probs = served.oracle.generate_scored(
            one.input_ids, one.request_output_len, end_id=one.end_id, **options
        )
        events = replies.all()
        assert events[-1].error is None
        single = one.sampling.beam_width == 1
        got = events[-1].output_ids
        if single and one.streaming:
            got = [[token for event in events for token in event.output_ids[0]]]
        if not cancelled:
            assert got == expected, one
            if one.return_log_probs:
                assert_log_probs(events[-1], log_probs)
        elif single:
            assert got[0] == expected[0][: len(got[0])]
            num_cut += got != expected
        else:
            assert len(got) == len(expected)
    assert num_cut > 5
    assert served.engine.statistics().active == 0
