"""The reference engine: one thread, one model, many requests in one batched step."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from engine_step.interface import (
    EngineRequest,
    EngineStatistics,
    EngineStoppedError,
    RankLostError,
    TokenEvent,
)
from engine_step.validation import Limits, validate
from reference_engine.model.blocks import BlockPool
from reference_engine.model.checkpoint import DTYPES, ModelShape, load_model, read_shape
from reference_engine.model.decoder import Decoder
from reference_engine.model.hardware import AUTO, CPU, best_device, resolve_dtype, use_threads_for
from reference_engine.model.kv_cache import KVCache
from reference_engine.model.model_runner import ModelRunner, Runner
from reference_engine.ranks.leader import open_ranks
from reference_engine.ranks.rank import ModelSpec
from reference_engine.scheduler import Scheduler
from reference_engine.sequence import Sequence
from reference_engine.step_loop import StepLoop, abort

DEFAULT_MAX_SEQ_LEN = 4096
TOKENS_PER_BLOCK = 32

logger = logging.getLogger(__name__)


class ReferenceEngine:
    """Serves a checkpoint directory; implements `interface.Engine`.

    Args:
        checkpoint_dir: a Hugging Face checkpoint, with config.json and *.safetensors, or a
            TensorRT-LLM checkpoint that build_engines has converted.
        max_batch_size: sequences that run at once; a beam search counts as `beam_width`.
        max_seq_len: prompt and output tokens of one sequence together; by default the model's
            limit, at most `DEFAULT_MAX_SEQ_LEN`.
        max_tokens_in_paged_kv_cache: tokens that all running sequences may have together, their
            whole outputs counted from the start; by default `max_batch_size * max_seq_len`.
        max_beam_width: the widest beam search accepted.
        max_queue_size: requests that may wait; 0 for no limit.
        dtype: of weights and cache; "auto" is bfloat16 where that pays. Only float32 gives output
            that does not depend on what else is in the batch.
        tensor_parallel_size: processes that share the model, this one the first of them.

    Raises:
        CheckpointError: the checkpoint cannot be served.
        ValueError: the limits contradict each other or the model.
    """

    def __init__(
        self,
        checkpoint_dir: str | Path,
        *,
        max_batch_size: int = 16,
        max_seq_len: int | None = None,
        max_tokens_in_paged_kv_cache: int | None = None,
        max_beam_width: int = 1,
        max_queue_size: int = 0,
        dtype: str = AUTO,
        tensor_parallel_size: int = 1,
    ) -> None:
        if not 1 <= max_beam_width <= max_batch_size:
            raise ValueError(
                f"max_beam_width is {max_beam_width}; it must be in [1, max_batch_size]"
                f" = [1, {max_batch_size}]"
            )
        if max_queue_size < 0:
            raise ValueError(f"max_queue_size is {max_queue_size}; use 0 for no limit")
        if dtype not in (AUTO, *DTYPES):
            raise ValueError(f"dtype is {dtype!r}; use one of {', '.join((AUTO, *DTYPES))}")
        if tensor_parallel_size < 1:
            raise ValueError(f"tensor_parallel_size is {tensor_parallel_size}; use 1 or more")
        directory = Path(checkpoint_dir)
        shape = read_shape(directory)
        max_seq_len = _resolve_max_seq_len(max_seq_len, shape)
        self._limits = Limits(shape.vocab_size, max_seq_len, max_beam_width)
        num_blocks = max_batch_size * -(-max_seq_len // TOKENS_PER_BLOCK)
        if max_tokens_in_paged_kv_cache is not None:
            num_blocks = max_tokens_in_paged_kv_cache // TOKENS_PER_BLOCK
        if num_blocks < 1:
            raise ValueError(
                f"max_tokens_in_paged_kv_cache is {max_tokens_in_paged_kv_cache};"
                f" it must be at least {TOKENS_PER_BLOCK}"
            )
        pool = BlockPool(num_blocks, TOKENS_PER_BLOCK)
        self._scheduler = Scheduler(max_batch_size, max_queue_size, pool)

        is_shared = shape.num_ranks is not None or tensor_parallel_size > 1
        device = CPU if is_shared else best_device()
        spec = ModelSpec(
            directory,
            resolve_dtype(dtype, shape, device),
            max_seq_len,
            pool.num_blocks,
            pool.block_size,
        )

        @contextmanager
        def open_runner() -> Iterator[Runner]:
            if is_shared:
                with open_ranks(spec, tensor_parallel_size, self._scheduler.interrupt) as runner:
                    yield runner
                return
            use_threads_for(shape)
            model = load_model(directory, spec.dtype, device)
            cache = KVCache(shape, pool.num_blocks, pool.block_size, model.dtype, device)
            yield ModelRunner(Decoder(model, max_seq_len), cache)

        self._ranks = tensor_parallel_size
        self._is_loaded = False
        self._has_failed = False
        loaded: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run,
            args=(open_runner, loaded),
            name="reference-engine",
            daemon=True,  # a forgotten shutdown must not hang the interpreter's exit
        )
        self._thread.start()
        loaded.result()

    @property
    def max_seq_len(self) -> int:
        """Prompt and output tokens one sequence may have together."""
        return self._limits.max_seq_len

    def submit(self, request: EngineRequest, on_event: Callable[[TokenEvent], None]) -> None:
        """Queue `request`; see `interface.Engine.submit`."""
        validate(request, self._limits)
        self._scheduler.add(Sequence(request, on_event, self._limits.max_seq_len))

    def cancel(self, request_id: str) -> None:
        """End the request at the next step; see `interface.Engine.cancel`."""
        self._scheduler.cancel(request_id)

    def statistics(self) -> EngineStatistics:
        """Return the current counts."""
        return replace(
            self._scheduler.statistics(),
            gpu_bytes=torch.cuda.memory_allocated(),
            ranks=self._ranks if self._is_loaded else 0,
        )

    def is_alive(self) -> bool:
        """Say whether its thread serves requests, or may do so again."""
        return not self._has_failed

    def shutdown(self) -> None:
        """End every request with an error event and stop the thread; see `interface.Engine`."""
        self._scheduler.close(EngineStoppedError("the engine was shut down"))
        if threading.current_thread() is not self._thread:  # called from an on_event
            self._thread.join()

    def _run(
        self, open_runner: Callable[[], AbstractContextManager[Runner]], loaded: Future[None]
    ) -> None:
        """Do all the work that touches torch: the body of the engine's thread.

        One thread only, for a second one that runs torch operations would get its own pool of
        OpenMP threads, and both pools would compete for the same cores.
        """
        try:
            with torch.inference_mode():
                while self._scheduler.closed_by is None:
                    with open_runner() as runner:
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


def _resolve_max_seq_len(asked: int | None, shape: ModelShape) -> int:
    limit = shape.max_position_embeddings
    if asked is None:
        return min(limit, DEFAULT_MAX_SEQ_LEN)
    if not 2 <= asked <= limit:
        raise ValueError(
            f"max_seq_len is {asked}; it must be in [2, {limit}],"
            " the model's max_position_embeddings"
        )
    return asked
