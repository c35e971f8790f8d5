"""Joining, leaving, refusing and ending."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine_step.interface import (
    EngineStoppedError,
    QueueFullError,
    RequestRefusedError,
    TokenEvent,
)
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.model_runner import ModelRunner
from reference_engine.prefill_budget import FIRST_TOKENS_BESIDE_STREAMS
from reference_engine.scheduler import Scheduler
from support.engine_harness import Replies, Served, ask, request

PROMPT = [3, 1, 4, 1, 5]
LONG = 500


@pytest.fixture
def small(checkpoint: Path) -> Iterator[ReferenceEngine]:
    """An engine with two rows and room for two waiting requests."""
    engine = ReferenceEngine(
        EngineConfig.resolve(checkpoint, max_batch_size=2, max_beam_width=2, max_queue_size=2)
    )
    yield engine
    engine.shutdown()


class Held:
    """Replies of a stream whose first event holds the engine's thread until `release`."""

    def __init__(self) -> None:
        self.replies = Replies()
        self.reached = threading.Event()
        self.release = threading.Event()
        self.on_next: Callable[[], None] = lambda: None

    def __call__(self, event: TokenEvent) -> None:
        self.replies(event)
        if self.reached.is_set():
            self.on_next()
        self.reached.set()
        self.release.wait(30)


def hold(engine: ReferenceEngine, request_id: str = "held") -> Held:
    held = Held()
    engine.submit(request(PROMPT, LONG, request_id=request_id, streaming=True), held)
    assert held.reached.wait(30)
    return held


def engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "reference-engine"}


def wait_until_idle(engine: ReferenceEngine) -> None:
    deadline = time.monotonic() + 30
    while engine.statistics().active and time.monotonic() < deadline:
        time.sleep(0.01)


def test_cancelling_a_running_stream_ends_it_with_a_normal_final_event(llama: Served) -> None:
    replies = Replies()
    llama.engine.submit(request(PROMPT, LONG, request_id="stream", streaming=True), replies)
    first = replies.next()
    llama.engine.cancel("stream")
    rest = replies.all()
    assert not first.is_final
    assert rest[-1].error is None
    tokens = [token for event in (first, *rest) for token in event.output_ids[0]]
    assert len(tokens) < LONG
    assert tokens == llama.oracle.generate(PROMPT, len(tokens), do_sample=False)[0]
    assert llama.engine.statistics().active == 0


def test_cancelling_without_streaming_returns_the_tokens_so_far(small: ReferenceEngine) -> None:
    held, replies = hold(small), Replies()
    small.submit(request(PROMPT, LONG, request_id="whole"), replies)
    held.release.set()
    for _ in range(10):
        held.replies.next()
    small.cancel("whole")
    assert 0 < len(replies.beams()[0]) < LONG


def test_cancelling_a_queued_request_ends_it_while_others_run(small: ReferenceEngine) -> None:
    first, second, queued = hold(small, "first"), Replies(), Replies()
    small.submit(request(PROMPT, LONG, request_id="second"), second)
    small.submit(request(PROMPT, LONG, request_id="queued"), queued)
    small.cancel("queued")
    first.release.set()
    assert queued.beams() == [[]]
    assert small.statistics().scheduled == 2


def test_cancelling_in_the_middle_of_a_long_prompt_leaves_nothing_behind(
    small: ReferenceEngine,
) -> None:
    prompt = [7] * (2 * FIRST_TOKENS_BESIDE_STREAMS - 4)
    held, halfway = hold(small), Replies()
    held.on_next = lambda: small.cancel("halfway")  # after the first chunk, before the second
    small.submit(request(prompt, 4, request_id="halfway", beam_width=1), halfway)
    held.release.set()
    assert halfway.beams() == [[]]
    small.cancel("held")
    wait_until_idle(small)
    assert small.statistics().kv_cache_blocks_used == 0
    assert len(ask(small, request(prompt, 4))[0]) == 4


def test_cancelling_an_unknown_or_empty_id_does_nothing(llama: Served) -> None:
    llama.engine.cancel("nobody")
    replies = Replies()
    llama.engine.submit(request(PROMPT, 20), replies)
    llama.engine.cancel("")
    assert len(replies.beams()[0]) == 20


def test_a_finished_id_may_be_used_again(llama: Served) -> None:
    one = request(PROMPT, 3, request_id="again")
    assert ask(llama.engine, one) == ask(llama.engine, one)


def test_a_live_id_may_not_be_used_twice(small: ReferenceEngine) -> None:
    held = hold(small, "twice")
    with pytest.raises(RequestRefusedError, match="'twice' is in use"):
        small.submit(request(PROMPT, 3, request_id="twice"), Replies())
    held.release.set()


def test_requests_without_an_id_run_side_by_side(llama: Served) -> None:
    both = Replies(), Replies()
    for replies in both:
        llama.engine.submit(request(PROMPT, 12), replies)
    assert both[0].beams() == both[1].beams()


def test_a_full_queue_refuses_and_serves_again_later(small: ReferenceEngine) -> None:
    held = hold(small)
    waiting = [Replies(), Replies()]
    for replies in waiting:
        small.submit(request(PROMPT, 2), replies)
    with pytest.raises(QueueFullError, match="Maximum queue size of 2 has been reached"):
        small.submit(request(PROMPT, 2), Replies())
    held.release.set()
    small.cancel("held")
    for replies in waiting:
        replies.beams()
    assert len(ask(small, request(PROMPT, 2))[0]) == 2


def test_statistics_count_and_return_to_zero(small: ReferenceEngine) -> None:
    held = hold(small)
    for _ in range(2):
        small.submit(request(PROMPT, 2, beam_width=2), Replies())
    busy = small.statistics()
    assert (busy.scheduled, busy.waiting, busy.active) == (1, 2, 3)
    assert busy.max_requests == 2
    assert busy.kv_cache_blocks_max == 2 * 512 // busy.kv_cache_tokens_per_block
    assert busy.kv_cache_blocks_used == -(-(len(PROMPT) + LONG) // busy.kv_cache_tokens_per_block)
    held.release.set()
    small.cancel("held")
    wait_until_idle(small)
    idle = small.statistics()
    assert (idle.scheduled, idle.waiting, idle.kv_cache_blocks_used) == (0, 0, 0)


def test_a_beam_search_waits_for_all_its_rows_and_is_not_overtaken(
    small: ReferenceEngine,
) -> None:
    held, order = hold(small), []
    done = threading.Event()

    def note(name: str) -> None:
        order.append(name)
        if len(order) == 2:
            done.set()

    small.submit(request(PROMPT, 4, beam_width=2), lambda _: note("beams"))
    small.submit(request(PROMPT, 1), lambda _: note("behind"))
    held.release.set()
    small.cancel("held")
    assert done.wait(30)
    assert order == ["beams", "behind"]


@pytest.mark.parametrize("beam_width", [1, 2])
def test_a_request_that_cannot_be_sampled_fails_alone(llama: Served, beam_width: int) -> None:
    neighbour, hopeless = Replies(), Replies()
    llama.engine.submit(request(PROMPT, 40), neighbour)
    everything = [[token] for token in range(512)]
    wish = request(PROMPT, 40, bad_words=everything, beam_width=beam_width)
    llama.engine.submit(wish, hopeless)
    final = hopeless.final()
    assert final.output_ids == []
    assert isinstance(final.error, RequestRefusedError)
    assert "no token can be chosen: the request bans every token" in str(final.error)
    assert neighbour.beams() == llama.oracle.generate(PROMPT, 40, do_sample=False)


def test_a_listener_that_raises_ends_only_its_own_request(llama: Served) -> None:
    def raising(_: TokenEvent) -> None:
        raise ValueError("a broken listener")

    neighbour = Replies()
    llama.engine.submit(request(PROMPT, 40, streaming=True), raising)
    llama.engine.submit(request(PROMPT, 40), neighbour)
    assert neighbour.beams() == llama.oracle.generate(PROMPT, 40, do_sample=False)
    wait_until_idle(llama.engine)
    assert llama.engine.statistics().active == 0


def test_shutdown_ends_running_and_waiting_requests_with_an_error(checkpoint: Path) -> None:
    before = engine_threads()
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=1))
    replies = [Replies() for _ in range(4)]
    for each in replies:
        engine.submit(request(PROMPT, LONG), each)
    engine.shutdown()
    for each in replies:
        assert isinstance(each.final().error, EngineStoppedError)
    assert engine.statistics().active == 0
    assert engine_threads() == before


def test_after_shutdown_a_request_is_refused_and_a_second_shutdown_is_harmless(
    checkpoint: Path,
) -> None:
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=1))
    engine.shutdown()
    engine.shutdown()
    with pytest.raises(EngineStoppedError, match="shut down"):
        engine.submit(request(PROMPT), Replies())


def test_a_failed_forward_pass_ends_its_requests_and_the_engine_goes_on(
    small: ReferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, beside, waiting = hold(small), Replies(), Replies()
    small.submit(request(PROMPT, LONG), beside)
    small.submit(request(PROMPT, 4), waiting)
    forward = ModelRunner.forward

    def out_of_memory(*_: object) -> None:
        monkeypatch.setattr(ModelRunner, "forward", forward)
        raise MemoryError("no memory left")

    monkeypatch.setattr(ModelRunner, "forward", out_of_memory)
    running.release.set()
    for replies in (running.replies, beside):
        assert "no memory left" in str(replies.final().error)
    assert len(waiting.beams()[0]) == 4
    wait_until_idle(small)
    assert small.statistics().kv_cache_blocks_used == 0


def test_when_the_step_loop_dies_every_request_hears_of_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=1))
    running, waiting = hold(engine), Replies()
    engine.submit(request(PROMPT), waiting)

    def broken(*_: object) -> None:
        raise RuntimeError("a broken scheduler")

    monkeypatch.setattr(Scheduler, "running", broken)
    running.release.set()
    for replies in (running.replies, waiting):
        error = replies.final().error
        assert isinstance(error, EngineStoppedError)
        assert "a broken scheduler" in str(error)
    with pytest.raises(EngineStoppedError, match="a broken scheduler"):
        engine.submit(request(PROMPT), Replies())
    engine.shutdown()


REFUSED = [
    ({"input_ids": []}, "input_ids is empty"),
    ({"input_ids": [1, 512]}, r"token id 512, outside the model's vocabulary \[0, 512\)"),
    ({"input_ids": [-1, 2]}, "token id -1"),
    ({"input_ids": [1] * 512}, r"Prompt length \(512\) exceeds maximum input length \(511\)"),
    ({"request_output_len": 0}, "request_output_len is 0; it must be greater than 0"),
    ({"end_id": 512}, r"end_id is 512; it must be in \[-1, 512\)"),
    ({"end_id": -2}, "end_id is -2"),
    ({"embedding_bias": np.zeros(513, np.float32)}, "embedding_bias has 513 entries"),
    ({"embedding_bias": np.full(3, np.inf, np.float32)}, "embedding_bias holds NaN or \\+inf"),
    ({"stop_words": [[]]}, "stop_words holds a word without tokens"),
    ({"bad_words": [[700]]}, "bad_words holds token id 700"),
]
REFUSED_SAMPLING = [
    ({"beam_width": 0}, r"beam_width is 0; it must be in \[1, 4\]"),
    ({"beam_width": 5}, r"beam_width is 5; it must be in \[1, 4\]"),
    ({"temperature": -0.1}, "temperature is -0.1"),
    ({"temperature": float("nan")}, "temperature is nan; it must be a finite number"),
    ({"temperature": float("inf")}, "temperature is inf"),
    ({"top_k": -1}, "top_k is -1"),
    ({"top_p": 1.01}, "top_p is 1.01"),
    ({"top_p": float("nan")}, "top_p is nan"),
    ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
    ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
    ({"presence_penalty": float("nan")}, "presence_penalty is nan"),
    ({"frequency_penalty": float("inf")}, "frequency_penalty is inf"),
    ({"min_tokens": -1}, "min_tokens is -1"),
    ({"no_repeat_ngram_size": -1}, "no_repeat_ngram_size is -1"),
    ({"len_penalty": -0.5}, "len_penalty is -0.5"),
    ({"early_stopping": 3}, "early_stopping is 3; it must be 0, 1 or 2"),
    ({"seed": -1}, "seed is -1"),
    ({"top_p_decay": 0.0}, "top_p_decay is 0.0; it must be greater than 0 and at most 1"),
    ({"top_p_decay": 1.5}, "top_p_decay is 1.5"),
    ({"top_p_min": 0.0}, "top_p_min is 0.0"),
    ({"top_p_reset_id": 512}, r"top_p_reset_id is 512; it must be in \[0, 512\)"),
    ({"beam_search_diversity_rate": float("nan")}, "beam_search_diversity_rate is nan"),
]


@pytest.mark.parametrize(("fields", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_a_request_that_cannot_be_served_is_refused_with_the_reason(
    llama: Served, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(RequestRefusedError, match=text):
        llama.engine.submit(replace(request(PROMPT), **fields), Replies())
    assert llama.engine.statistics().active == 0


@pytest.mark.parametrize(
    ("fields", "text"), REFUSED_SAMPLING, ids=[str(fields) for fields, _ in REFUSED_SAMPLING]
)
def test_sampling_values_out_of_range_are_refused_with_the_reason(
    llama: Served, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(RequestRefusedError, match=text):
        llama.engine.submit(request(PROMPT, **fields), Replies())
