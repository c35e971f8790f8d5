"""Prompts beside streams, the token budget of the cache, and reuse of what it holds."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from engine_step.interface import RequestRefusedError, TokenEvent
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.kv_cache import Row
from reference_engine.model.model_runner import ModelRunner
from reference_engine.prefill_budget import FIRST_TOKENS_BESIDE_STREAMS, MAX_TOKENS
from support.checkpoints import make_llama
from support.engine_harness import Oracle, Replies, Served, ask, request

VOCAB = 512


def random_prompt(length: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(VOCAB) for _ in range(length)]


@pytest.fixture
def forward_passes(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """How many tokens every row of every forward pass has, as the engines go on."""
    passes: list[list[int]] = []
    forward = ModelRunner.forward

    def noted(runner: ModelRunner, rows: list[Row]) -> object:
        passes.append([len(row.tokens) for row in rows])
        return forward(runner, rows)

    monkeypatch.setattr(ModelRunner, "forward", noted)
    return passes


@pytest.fixture
def narrow(checkpoint: Path) -> Iterator[ReferenceEngine]:
    """An engine with four rows and a cache of 256 tokens."""
    engine = ReferenceEngine(
        EngineConfig.resolve(
            checkpoint,
            max_batch_size=4,
            max_beam_width=4,
            max_tokens_in_paged_kv_cache=256,
            dtype="float32",
        )
    )
    yield engine
    engine.shutdown()


def test_a_long_prompt_beside_a_stream_is_computed_in_small_chunks_with_every_token(
    tmp_path: Path, forward_passes: list[list[int]]
) -> None:
    checkpoint = make_llama(tmp_path, max_position_embeddings=2304)
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, dtype="float32"))
    long, stream = Replies(), Replies()
    prompt = random_prompt(2000, 1)
    submitted = False

    def submit_beside(event: TokenEvent) -> None:
        nonlocal submitted
        if not submitted:
            submitted = True
            engine.submit(request(prompt, 4), long)
        stream(event)

    engine.submit(request(random_prompt(8, 2), 120, streaming=True), submit_beside)
    assert len(stream.streamed()) == 120
    assert long.beams() == Oracle(checkpoint).generate(prompt, 4, do_sample=False)
    engine.shutdown()
    beside = [rows for rows in forward_passes[1:] if max(rows) > 1]
    assert all(rows[0] == 1 for rows in beside)
    chunks = [rows[1] for rows in beside]
    assert sum(chunks) == 2000
    assert chunks[0] == FIRST_TOKENS_BESIDE_STREAMS
    assert max(chunks) <= MAX_TOKENS


def test_prompts_that_arrive_together_are_computed_in_one_pass(
    checkpoint: Path, forward_passes: list[list[int]]
) -> None:
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=8, dtype="float32"))
    together = [Replies() for _ in range(6)]
    replies = Replies()

    def submit_together(event: TokenEvent) -> None:
        for number, each in enumerate(together):
            engine.submit(request(random_prompt(60, number), 2), each)
        replies(event)

    engine.submit(request([1, 2, 3], 1), submit_together)
    for each in together:
        each.beams()
    engine.shutdown()
    assert forward_passes[1] == [60] * 6
    assert MAX_TOKENS >= 6 * 60


def test_a_request_that_can_never_fit_the_cache_is_refused(narrow: ReferenceEngine) -> None:
    with pytest.raises(RequestRefusedError, match="needs 10 KV cache blocks of 32 tokens"):
        narrow.submit(request([1] * 100, 200), Replies())


def test_requests_wait_for_cache_blocks_and_keep_their_order(narrow: ReferenceEngine) -> None:
    order: list[int] = []
    replies = [Replies() for _ in range(12)]

    def listen(number: int, event: TokenEvent) -> None:
        if event.is_final:
            order.append(number)
        replies[number](event)

    for number in range(len(replies)):
        one = request(random_prompt(90, number), 20)
        narrow.submit(one, partial(listen, number))
        assert narrow.statistics().scheduled <= 2
    for each in replies:
        assert len(each.beams()[0]) == 20
    assert order == sorted(order)
    assert narrow.statistics().kv_cache_blocks_used == 0


def test_a_prompt_seen_before_is_reused_and_gives_the_same_tokens(
    llama: Served, forward_passes: list[list[int]]
) -> None:
    prompt = random_prompt(150, 3)
    expected = llama.oracle.generate(prompt, 12, do_sample=False)
    assert ask(llama.engine, request(prompt, 12)) == expected
    reused = llama.engine.statistics().kv_cache_blocks_reused
    forward_passes.clear()
    assert ask(llama.engine, request(prompt, 12)) == expected
    assert llama.engine.statistics().kv_cache_blocks_reused == reused + 4
    assert forward_passes[0] == [150 - 4 * 32]


def test_a_conversation_reuses_the_reply_too(llama: Served) -> None:
    prompt = random_prompt(70, 4)
    reply = ask(llama.engine, request(prompt, 60))[0]
    reused = llama.engine.statistics().kv_cache_blocks_reused
    following = [*prompt, *reply, *random_prompt(9, 5)]
    expected = llama.oracle.generate(following, 8, do_sample=False)
    assert ask(llama.engine, request(following, 8)) == expected
    assert llama.engine.statistics().kv_cache_blocks_reused == reused + 4


def test_beams_over_a_reused_prompt_equal_generate(llama: Served) -> None:
    prompt = random_prompt(100, 6)
    ask(llama.engine, request(prompt, 1))
    expected = llama.oracle.generate(
        prompt, 10, do_sample=False, num_beams=4, num_return_sequences=4, length_penalty=0.0
    )
    one = request(prompt, 10, beam_width=4, early_stopping=0)
    assert ask(llama.engine, one) == expected


@pytest.mark.slow
def test_the_same_request_alone_and_among_fifteen_others_gives_the_same_tokens(
    checkpoint: Path,
) -> None:
    prompts = [random_prompt(length, length) for length in range(5, 85, 5)]
    engine = ReferenceEngine(EngineConfig.resolve(checkpoint, max_batch_size=16, dtype="float32"))
    alone = [ask(engine, request(prompt, 30)) for prompt in prompts]
    together = [Replies() for _ in prompts]
    for prompt, replies in zip(prompts, together, strict=True):
        engine.submit(request(prompt, 30), replies)
    assert [replies.beams() for replies in together] == alone
    engine.shutdown()
    oracle = Oracle(checkpoint)
    assert alone == [oracle.generate(prompt, 30, do_sample=False) for prompt in prompts]
