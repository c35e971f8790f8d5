"""Who waits and who runs."""

import threading
from bisect import insort

from engine_step.interface import (
    EngineStatistics,
    EngineStoppedError,
    QueueFullError,
    RequestRefusedError,
)
from reference_engine.model.blocks import BlockPool
from reference_engine.sequence import Sequence, SequenceStatus


class Scheduler:
    """The waiting queue, by priority and then by arrival, and the set of running sequences.

    Shared by the callers' threads (`add`, `cancel`, `statistics`, `close`) and the engine's. A
    request at the head of the queue waits until it has all its rows and cache blocks, and what is
    behind it waits with it: among equal priorities nothing can starve. What runs is not interrupted
    for what waits.
    """

    def __init__(self, max_rows: int, max_queue_size: int, pool: BlockPool) -> None:
        self._max_rows = max_rows
        self._pool = pool
        self._max_queue_size = max_queue_size
        self._changed = threading.Condition()
        self._waiting: list[Sequence] = []
        self._running: list[Sequence] = []
        self._by_id: dict[str, Sequence] = {}
        self._cancelled: list[Sequence] = []
        self._interruption: Exception | None = None
        self._num_iterations = self._num_context_tokens = 0
        self.closed_by: EngineStoppedError | None = None

    def add(self, sequence: Sequence) -> None:
        """Queue `sequence`.

        Raises:
            RequestRefusedError: a live request has the same id, or the cache is too small for
                this one.
            QueueFullError: `max_queue_size` requests wait already.
            EngineStoppedError: the scheduler is closed.
        """
        request_id = sequence.request.request_id
        needed = sequence.num_blocks_needed(self._pool)
        if needed > self._pool.num_blocks:
            raise RequestRefusedError(
                f"the request needs {needed} KV cache blocks of {self._pool.block_size} tokens,"
                f" more than the {self._pool.num_blocks} there are; ask for fewer tokens or beams"
            )
        with self._changed:
            if self.closed_by:
                raise self.closed_by
            if request_id and request_id in self._by_id:
                raise RequestRefusedError(
                    f"request id {request_id!r} is in use by a running request; send a unique id"
                )
            if 0 < self._max_queue_size <= len(self._waiting):
                raise QueueFullError(
                    f"Maximum queue size of {self._max_queue_size} has been reached,"
                    " please try again later"
                )
            insort(self._waiting, sequence, key=lambda each: -each.request.priority)
            if request_id:
                self._by_id[request_id] = sequence
            self._changed.notify()

    def cancel(self, request_id: str) -> None:
        """Mark the live request of that id, if any, for `take_cancelled`."""
        with self._changed:
            if sequence := self._by_id.get(request_id):
                self._cancelled.append(sequence)
                self._changed.notify()

    def wait_for_work(self) -> bool:
        """Block until there is a request to serve or to cancel; false once closed.

        Raises:
            Exception: the one given to `interrupt`.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.closed_by
                    or self._interruption
                    or self._next()
                    or self._running
                    or self._cancelled
                )
            )
            if self._interruption and not self.closed_by:
                raise self._interruption
            return self.closed_by is None

    def interrupt(self, reason: Exception) -> None:
        """Let `wait_for_work` raise `reason` until `resume`."""
        with self._changed:
            self._interruption = reason
            self._changed.notify()

    def resume(self) -> None:
        """Go on after an interruption in which the cache has lost its content."""
        with self._changed:
            self._interruption = None
            self._pool.forget_published()

    def count_iteration(self, num_context_tokens: int) -> None:
        """Note that a step begins, and how many tokens of prompts it reads."""
        with self._changed:
            self._num_iterations += 1
            self._num_context_tokens = num_context_tokens

    def take_cancelled(self) -> list[Sequence]:
        """Return the live sequences marked by `cancel` since the last call."""
        with self._changed:
            marked, self._cancelled = dict.fromkeys(self._cancelled), []
            return [s for s in marked if s in self._running or s in self._waiting]

    def admit(self) -> Sequence | None:
        """Let the first waiting sequence run if there are rows and cache blocks for it."""
        with self._changed:
            used = sum(sequence.num_rows for sequence in self._running)
            sequence = self._next()
            if sequence is None or used + sequence.num_rows > self._max_rows:
                return None
            if not sequence.start(self._pool):
                return None
            self._waiting.remove(sequence)
            self._running.append(sequence)
            return sequence

    def wake(self) -> None:
        """Let the engine's thread look again at what waits: a sequence has become ready."""
        with self._changed:
            self._changed.notify()

    def _next(self) -> Sequence | None:
        """Return the first waiting sequence that can run."""
        return next((each for each in self._waiting if each.is_ready), None)

    def retire(self, sequence: Sequence, status: SequenceStatus) -> None:
        """Forget `sequence`, waiting or running, in its final `status`."""
        with self._changed:
            queue = self._waiting if sequence.status is SequenceStatus.QUEUED else self._running
            queue.remove(sequence)
            sequence.release_blocks()
            self._by_id.pop(sequence.request.request_id, None)
            sequence.status = status

    def close(self, reason: EngineStoppedError) -> None:
        """Accept nothing more and wake the engine's thread; the first reason stays."""
        with self._changed:
            self.closed_by = self.closed_by or reason
            self._changed.notify()

    def running(self) -> list[Sequence]:
        """Return the running sequences, in the order they were admitted."""
        with self._changed:
            return list(self._running)

    def live(self) -> list[Sequence]:
        """Return all running and waiting sequences."""
        with self._changed:
            return [*self._running, *self._waiting]

    def statistics(self) -> EngineStatistics:
        """Return the current counts."""
        with self._changed:
            return EngineStatistics(
                iterations=self._num_iterations,
                max_requests=self._max_rows,
                scheduled=len(self._running),
                context=sum(not sequence.is_prefilled for sequence in self._running),
                context_tokens=self._num_context_tokens,
                waiting=len(self._waiting),
                kv_cache_blocks_used=self._pool.num_blocks - self._pool.num_free,
                kv_cache_blocks_max=self._pool.num_blocks,
                kv_cache_blocks_reused=self._pool.num_reused,
                kv_cache_tokens_per_block=self._pool.block_size,
            )
