"""The reference engine: one thread, one model, many requests in one batched step."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace

import torch

from engine_step.interface import (
    EngineRequest,
    EngineStatistics,
    EngineStoppedError,
    RankLostError,
    TokenEvent,
)
from engine_step.validation import Limits, validate
from reference_engine.config import EngineConfig
from reference_engine.guides import Guides, MakeFollower
from reference_engine.model.blocks import BlockPool
from reference_engine.model.hardware import use_threads_for
from reference_engine.model.loading import load_runner
from reference_engine.model.model_runner import Runner
from reference_engine.model.weights import HuggingFaceWeights
from reference_engine.ranks.leader import open_ranks
from reference_engine.scheduler import Scheduler
from reference_engine.sequence import Sequence
from reference_engine.step_loop import StepLoop, abort

logger = logging.getLogger(__name__)


class ReferenceEngine:
    """Serves a checkpoint directory; implements `interface.Engine`.

    Args:
        config: what it serves and within which limits.

    Raises:
        CheckpointError: the weights cannot be served.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._guides = Guides(config.tokenizer_dir, config.model.vocab_size)
        self._limits = Limits(config.model.vocab_size, config.max_seq_len, config.max_beam_width)
        pool = BlockPool(config.num_blocks, config.block_size)
        self._scheduler = Scheduler(config.max_batch_size, config.max_queue_size, pool)
        self._is_loaded = False
        self._has_failed = False
        loaded: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run,
            args=(loaded,),
            name="reference-engine",
            daemon=True,  # a forgotten shutdown must not hang the interpreter's exit
        )
        self._thread.start()
        loaded.result()

    def submit(self, request: EngineRequest, on_event: Callable[[TokenEvent], None]) -> None:
        """Queue `request`; see `interface.Engine.submit`."""
        validate(request, self._limits)
        follower = self._compiled(request)
        self._scheduler.add(Sequence(request, on_event, self.config.max_seq_len, follower))
        if follower:
            follower.add_done_callback(lambda _: self._scheduler.wake())

    def _compiled(self, request: EngineRequest) -> MakeFollower | None:
        if request.guide is None:
            return None
        return self._guides.compile(request.guide, request.end_id, request.stop_words)

    def cancel(self, request_id: str) -> None:
        """End the request at the next step; see `interface.Engine.cancel`."""
        self._scheduler.cancel(request_id)

    def statistics(self) -> EngineStatistics:
        """Return the current counts."""
        return replace(
            self._scheduler.statistics(),
            gpu_bytes=torch.cuda.memory_allocated(),
            ranks=self.config.tensor_parallel_size if self._is_loaded else 0,
        )

    def is_alive(self) -> bool:
        """Say whether its thread serves requests, or may do so again."""
        return not self._has_failed

    def shutdown(self) -> None:
        """End every request with an error event and stop the thread; see `interface.Engine`."""
        self._scheduler.close(EngineStoppedError("the engine was shut down"))
        self._guides.close()
        if threading.current_thread() is not self._thread:  # called from an on_event
            self._thread.join()

    @contextmanager
    def _open_runner(self) -> Iterator[Runner]:
        config = self.config
        if config.is_shared:
            with open_ranks(config, self._scheduler.interrupt) as ranks:
                yield ranks
            return
        use_threads_for(config.model)
        with HuggingFaceWeights(config.checkpoint_dir, is_tied=config.model.is_tied) as weights:
            runner = load_runner(config, weights)
        yield runner

    def _run(self, loaded: Future[None]) -> None:
        """Do all the work that touches torch: the body of the engine's thread.

        One thread only, for a second one that runs torch operations would get its own pool of
        OpenMP threads, and both pools would compete for the same cores.
        """
        try:
            with torch.inference_mode():
                while self._scheduler.closed_by is None:
                    with self._open_runner() as runner:
                        self._is_loaded = True
                        if not loaded.done():
                            loaded.set_result(None)
                        self._serve(StepLoop(self._scheduler, runner))
                        self._is_loaded = False
                    self._scheduler.resume()
        except BaseException as error:
            if not loaded.done():
                loaded.set_exception(error)
                return
            logger.exception("the step loop failed")
            self._has_failed = True
            self._scheduler.close(EngineStoppedError(f"the engine's step loop failed: {error!r}"))
        abort(self._scheduler)

    def _serve(self, loop: StepLoop) -> None:
        """Step until the engine is closed, or a rank is lost and its model with it."""
        try:
            while self._scheduler.wait_for_work():
                loop.step()
        except RankLostError as error:
            logger.error("%s", error, exc_info=error)
            loop.fail_running(error)
