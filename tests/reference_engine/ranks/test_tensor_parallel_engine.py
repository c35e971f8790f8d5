"""An engine of two ranks gives what one rank gives; they fail, start again and end together."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from build_engines.checkpoint.convert import convert
from engine_step.interface import RankLostError
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine
from reference_engine.model.checkpoint import CheckpointError
from reference_engine.model.model_runner import ModelRunner
from reference_engine.ranks import collectives
from support import tiny_models
from support.checkpoints import make_mistral
from support.engine_harness import Oracle, Replies, Served, ask, request
from support.ranks import followers_of, has_ended, the_follower_of

pytestmark = pytest.mark.slow

SLOTS = 4
PROMPTS = [[(7 * i + j * j) % 500 + 3 for j in range(5 + 3 * i)] for i in range(8)]
LONG = 400


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A Mistral with a sliding window, whose ranks give each other up after a few seconds."""
    checkpoint = make_mistral(tmp_path_factory.mktemp("mistral"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collectives, "TIMEOUT_SECONDS", 10)
        engine = ReferenceEngine(
            EngineConfig.resolve(
                checkpoint,
                max_batch_size=SLOTS,
                max_beam_width=4,
                dtype="float32",
                tensor_parallel_size=2,
            )
        )
        yield Served(engine, Oracle(checkpoint))
        follower = the_follower_of(os.getpid())
        engine.shutdown()
        assert has_ended(follower, seconds=0.1)


def assert_exact(served: Served) -> None:
    replies = [Replies() for _ in PROMPTS]
    for prompt, each in zip(PROMPTS, replies, strict=True):
        served.engine.submit(request(prompt, 24), each)
    for prompt, each in zip(PROMPTS, replies, strict=True):
        assert each.beams() == served.oracle.generate(prompt, 24, do_sample=False)


def running_stream(served: Served) -> Replies:
    replies = Replies()
    served.engine.submit(request(PROMPTS[0], LONG, streaming=True), replies)
    assert replies.next().error is None
    return replies


def test_greedy_equals_transformers_generate(two_ranks: Served) -> None:
    assert_exact(two_ranks)


def test_beams_equal_those_of_transformers(two_ranks: Served) -> None:
    beams = ask(two_ranks.engine, request(PROMPTS[4], 16, beam_width=4, len_penalty=1.0))
    assert beams == two_ranks.oracle.generate(
        PROMPTS[4], 16, num_beams=4, num_return_sequences=4, do_sample=False
    )


def test_a_rank_that_dies_while_idle_is_replaced_without_a_failed_request(
    two_ranks: Served,
) -> None:
    follower = the_follower_of(os.getpid())
    os.kill(follower, signal.SIGKILL)
    assert has_ended(follower)
    assert_exact(two_ranks)
    assert the_follower_of(os.getpid()) != follower


def test_an_exception_in_the_leading_rank_ends_what_runs_and_serves_what_waits(
    two_ranks: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, waiting = running_stream(two_ranks), Replies()
    others = [running_stream(two_ranks) for _ in range(SLOTS - 1)]
    two_ranks.engine.submit(request(PROMPTS[1], 24), waiting)
    follower = the_follower_of(os.getpid())
    forward = ModelRunner.forward

    def out_of_memory(*_: object) -> None:
        monkeypatch.setattr(ModelRunner, "forward", forward)
        raise MemoryError("no memory for the scores")

    monkeypatch.setattr(ModelRunner, "forward", out_of_memory)
    for each in (stream, *others):
        error = each.final().error
        assert isinstance(error, RankLostError)
        assert "rank 0 failed: MemoryError('no memory for the scores')" in str(error)
    assert waiting.beams() == two_ranks.oracle.generate(PROMPTS[1], 24, do_sample=False)
    assert has_ended(follower)
    assert two_ranks.engine.statistics().kv_cache_blocks_used == 0


@pytest.mark.extended
def test_a_rank_that_hangs_is_given_up(two_ranks: Served) -> None:
    stream = running_stream(two_ranks)
    follower = the_follower_of(os.getpid())
    os.kill(follower, signal.SIGSTOP)
    assert isinstance(stream.final().error, RankLostError)
    assert_exact(two_ranks)
    assert has_ended(follower)


def test_a_rank_that_cannot_load_is_the_reason_for_not_starting(tmp_path: Path) -> None:
    convert(
        tiny_models.model_of("llama-2-70b"),
        tiny_models.checkpoint_of("llama-2-70b"),
        tmp_path / "converted",
        tp_size=2,
    )
    path = tmp_path / "converted" / "rank1.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    before = followers_of(os.getpid())
    with pytest.raises(CheckpointError, match=r"rank 1: .* lm_head\.weight is missing"):
        ReferenceEngine(EngineConfig.resolve(tmp_path / "converted", tensor_parallel_size=2))
    assert followers_of(os.getpid()) == before
