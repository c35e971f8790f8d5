"""The executor's engine on the stand-in: what a caller sees, and what is leaked."""

import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_step.interface import (
    Engine,
    EngineStoppedError,
    QueueFullError,
    RequestRefusedError,
)
from executor_engine.errors import FailedStepError
from support.engine_harness import Oracle, Replies, ask, request

Open = Callable[..., Any]
PROMPT = [3, 1, 4, 1, 5]
LONG = 400


def submit(engine: Engine, *args: Any, **fields: Any) -> Replies:
    replies = Replies()
    engine.submit(request(*args, **fields), replies)
    return replies


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_idle(engine: Engine) -> Callable[[], bool]:
    return lambda: not engine.statistics().active


@pytest.mark.parametrize("streaming", [False, True])
def test_greedy_output_is_transformers(engine: Engine, oracle: Oracle, streaming: bool) -> None:
    prompts = [[7, 8, 9], [5], PROMPT * 8]
    replies = [submit(engine, each, 24, streaming=streaming) for each in prompts]
    for prompt, reply in zip(prompts, replies, strict=True):
        tokens = reply.streamed() if streaming else reply.beams()[0]
        assert tokens == oracle.generate(prompt, 24, do_sample=False)[0]


def test_beams_are_transformers_with_its_length_penalty(engine: Engine, oracle: Oracle) -> None:
    asked = request(PROMPT, 12, beam_width=4, len_penalty=1.0, early_stopping=0)
    expected = oracle.generate(
        PROMPT, 12, num_beams=4, num_return_sequences=4, do_sample=False, early_stopping=False
    )
    assert ask(engine, asked) == expected


def test_what_the_cpp_backend_cannot_do_reaches_the_executor(
    engine: Engine, oracle: Oracle
) -> None:
    repeated = ask(engine, request(PROMPT, 32, no_repeat_ngram_size=2, repetition_penalty=1.3))
    assert repeated == oracle.generate(
        PROMPT, 32, do_sample=False, no_repeat_ngram_size=2, repetition_penalty=1.3
    )


def test_a_bias_shorter_than_the_vocabulary_is_filled_up(engine: Engine, oracle: Oracle) -> None:
    bias = np.array([0.0, 0.0, -1e9, 5.0], dtype=np.float32)
    expected = oracle.generate(PROMPT, 8, bias=bias, do_sample=False)
    assert ask(engine, request(PROMPT, 8, embedding_bias=bias)) == expected


def test_a_stream_that_the_end_id_ends_has_the_tokens_before_it(
    engine: Engine, oracle: Oracle
) -> None:
    free = oracle.generate(PROMPT, 16, do_sample=False)[0]
    end_id = next(token for token in free[2:] if free.index(token) >= 2)
    events = submit(engine, PROMPT, 16, streaming=True, end_id=end_id).all()
    assert end_id not in events[-1].output_ids[0]
    assert [t for event in events for t in event.output_ids[0]] == free[: free.index(end_id)]
    assert events[-1].num_generated == free.index(end_id)


@pytest.mark.parametrize("streaming", [False, True])
def test_why_a_sequence_ended_is_what_the_executor_says(
    engine: Engine, oracle: Oracle, streaming: bool
) -> None:
    free = oracle.generate(PROMPT, 16, do_sample=False)[0]
    place = next(i for i in range(2, 16) if free[i] not in free[:i])

    def reasons(length: int, **fields: Any) -> list[str] | None:
        *earlier, last = submit(engine, PROMPT, length, streaming=streaming, **fields).all()
        assert all(each.finish_reasons is None for each in earlier)
        return [*last.finish_reasons] if last.finish_reasons else None

    assert reasons(place + 1) == ["length"]
    assert reasons(place + 1, end_id=free[place]) == ["stop"]
    assert reasons(place + 1, stop_words=[[free[place]]]) == ["stop"]


def test_the_prompt_comes_with_the_reply_where_it_is_asked_for(engine: Engine) -> None:
    alone = ask(engine, request(PROMPT, 4))[0]
    assert ask(engine, request(PROMPT, 4, exclude_input_in_output=False)) == [PROMPT + alone]


def test_log_probs_are_whole_in_each_event_and_sum_up(engine: Engine, oracle: Oracle) -> None:
    tokens, scores = oracle.generate_scored(PROMPT, 6, do_sample=False)
    events = submit(engine, PROMPT, 6, streaming=True, return_log_probs=True).all()
    assert [len(event.log_probs[0].tokens) for event in events if event.log_probs] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]
    assert events[-1].log_probs is not None
    np.testing.assert_allclose(events[-1].log_probs[0].tokens, scores[0], atol=1e-4)
    assert events[-1].log_probs[0].cumulative == pytest.approx(sum(scores[0]), abs=1e-3)
    assert [t for event in events for t in event.output_ids[0]] == tokens[0]


def test_perf_metrics_name_the_request_by_one_arrival(engine: Engine) -> None:
    events = submit(engine, PROMPT, 6, streaming=True, return_perf_metrics=True).all()
    metrics = [event.perf_metrics for event in events]
    assert len({each.arrival_time_ns for each in metrics if each}) == 1
    last = metrics[-1]
    assert last is not None
    assert last.arrival_time_ns <= last.first_token_time_ns <= last.last_token_time_ns


def test_a_seed_makes_a_draw_repeatable_and_none_makes_it_new(engine: Engine) -> None:
    def draw(**fields: Any) -> list[list[int]]:
        return ask(engine, request(PROMPT, 16, top_p=1.0, temperature=2.0, **fields))

    assert draw(seed=7) == draw(seed=7)
    assert draw() != draw()


def test_cancelling_a_stream_keeps_what_it_has_told(engine: Engine, oracle: Oracle) -> None:
    replies = submit(engine, PROMPT, LONG, request_id="stream", streaming=True)
    first = replies.next()
    engine.cancel("stream")
    events = [first, *replies.all()]
    tokens = [token for event in events for token in event.output_ids[0]]
    assert events[-1].error is None
    assert 0 < len(tokens) < LONG
    assert tokens == oracle.generate(PROMPT, len(tokens), do_sample=False)[0]


def test_cancelling_a_plain_request_returns_the_tokens_so_far(engine: Engine) -> None:
    begun = engine.statistics().iterations
    replies = submit(engine, PROMPT, LONG, request_id="whole")
    wait_until(lambda: engine.statistics().iterations > begun + 10)
    engine.cancel("whole")
    assert 0 < len(replies.beams()[0]) < LONG


def test_what_waits_is_answered_at_once_although_the_executor_waits(opened: Open) -> None:
    engine = opened(max_batch_size=1)
    running = submit(engine, PROMPT, LONG, request_id="running", streaming=True)
    running.next()
    queued = submit(engine, PROMPT, LONG, request_id="queued")
    begun = time.monotonic()
    engine.cancel("queued")
    assert queued.beams() == [[]]
    assert time.monotonic() - begun < 1
    engine.cancel("running")
    running.all()
    wait_until(is_idle(engine))
    assert len(ask(engine, request(PROMPT, 3, request_id="queued"))[0]) == 3  # its id is free


def test_an_id_in_use_is_refused_and_an_unknown_one_is_cancelled_without_effect(
    engine: Engine,
) -> None:
    replies = submit(engine, PROMPT, LONG, request_id="mine")
    with pytest.raises(RequestRefusedError, match="in use by a running request"):
        submit(engine, PROMPT, 1, request_id="mine")
    engine.cancel("mine")
    engine.cancel("nobody")
    replies.final()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"beam_width": 5}, "beam_width is 5"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"end_id": 10**6}, "end_id is 1000000"),
        ({"prompt_logprobs": 0}, "prompt_logprobs is 0, but this engine was built without"),
        ({"top_logprobs": 3}, "top_logprobs is 3, but TensorRT-LLM returns log probabilities of"),
    ],
)
def test_a_mistake_is_refused_before_the_executor_sees_it(
    engine: Engine, fields: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RequestRefusedError, match=reason):
        submit(engine, PROMPT, 4, **fields)


def test_a_refusal_of_the_executor_itself_is_one_requests(opened: Open) -> None:
    engine = opened(enable_chunked_context="false", max_num_tokens=16)
    replies = submit(engine, PROMPT * 10, 4)
    error = replies.final().error
    assert isinstance(error, RequestRefusedError)
    assert "Prompt length (50) exceeds maximum input length (16)" in str(error)
    assert "/src/" not in str(error)
    assert len(ask(engine, request(PROMPT, 4))[0]) == 4


def test_a_full_queue_is_told_as_such(opened: Open) -> None:
    engine = opened(max_batch_size=1, max_queue_size="1")
    running = submit(engine, PROMPT, LONG, request_id="running", streaming=True)
    running.next()
    queued = submit(engine, PROMPT, 2, request_id="queued")
    with pytest.raises(QueueFullError, match=r"^Maximum queue size of 1 has been reached"):
        submit(engine, PROMPT, 2, request_id="more")
    engine.cancel("running")
    assert len(queued.beams()[0]) == 2


def test_a_failed_step_ends_its_requests_and_the_engine_goes_on(
    opened: Open, tmp_path: Path
) -> None:
    engine = opened()
    replies = [submit(engine, PROMPT, LONG, streaming=True) for _ in range(3)]
    for each in replies:
        each.next()
    (tmp_path / "engine0" / "forward_error_once").write_text("CUDA error: an illegal access")
    for each in replies:
        error = each.final().error
        assert isinstance(error, FailedStepError)
        assert str(error) == "a step of the engine failed: CUDA error: an illegal access"
    assert len(ask(engine, request(PROMPT, 4))[0]) == 4
    assert engine.is_alive()


def test_an_engine_whose_steps_all_fail_is_found_dead_without_further_requests(
    opened: Open, tmp_path: Path
) -> None:
    engine = opened(max_batch_size=1)
    running = submit(engine, PROMPT, LONG, streaming=True)
    running.next()
    queued = submit(engine, PROMPT, LONG)
    (tmp_path / "engine0" / "forward_error").write_text("CUDA error: unspecified launch failure")
    assert isinstance(running.final().error, FailedStepError)
    assert queued.final().error is not None
    wait_until(lambda: not engine.is_alive())
    with pytest.raises(EngineStoppedError, match=r"the engine has died: CUDA error"):
        submit(engine, PROMPT, 1)


def test_shutdown_ends_what_runs_and_what_waits_with_an_error(opened: Open) -> None:
    before = set(threading.enumerate())
    engine = opened({"shutdown_seconds": 0.2}, max_batch_size=1)
    running = submit(engine, PROMPT, LONG, streaming=True)
    running.next()
    queued = submit(engine, PROMPT, LONG)
    begun = time.monotonic()
    engine.shutdown()
    assert time.monotonic() - begun < 10
    for each in (running, queued):
        assert isinstance(each.final().error, EngineStoppedError)
    with pytest.raises(EngineStoppedError, match="the engine was shut down"):
        submit(engine, PROMPT, 1)
    assert set(threading.enumerate()) <= before


def test_requests_of_another_beam_width_wait_for_those_that_run(opened: Open) -> None:
    engine = opened()
    running = submit(engine, PROMPT, 60, streaming=True)
    first = running.next().output_ids[0]  # tokens that have come together are one event
    beams = submit(engine, PROMPT, 4, beam_width=2)
    assert len(first + running.streamed()) == 60
    assert len(beams.beams()) == 2


def test_statistics_tell_what_runs_and_what_waits(opened: Open) -> None:
    engine = opened(max_batch_size=1)
    assert engine.statistics().active == 0
    running = submit(engine, PROMPT, LONG, request_id="running", streaming=True)
    running.next()
    submit(engine, PROMPT, 1)
    wait_until(lambda: engine.statistics().waiting == 1)
    now = engine.statistics()
    assert (now.scheduled, now.max_requests) == (1, 1)
    assert now.kv_cache_blocks_used > 0
    assert now.gpu_bytes > 0
    engine.cancel("running")
    running.all()
    wait_until(is_idle(engine))


def test_many_cancelled_streams_end_soon(engine: Engine) -> None:
    times = []
    for number in range(40):
        replies = submit(engine, PROMPT, LONG, request_id=f"c{number}", streaming=True)
        replies.next()
        begun = time.monotonic()
        engine.cancel(f"c{number}")
        replies.all()
        times.append(time.monotonic() - begun)
    assert statistics.quantiles(times, n=100)[98] < 1  # 0.25 on a machine that does nothing else
