"""What the engine's thread does in one step: cancel, prefill, decode."""

import logging

import torch

from reference_engine import decoding
from reference_engine.batch import Batch
from reference_engine.interface import TokenEvent
from reference_engine.model_runner import ModelRunner
from reference_engine.scheduler import Scheduler
from reference_engine.sequence import Sequence, SequenceStatus

# Prompt tokens computed between two decode steps: a long prompt may not stall running streams.
PREFILL_TOKENS_PER_STEP = 256

logger = logging.getLogger(__name__)


class StepLoop:
    """Moves requests from the scheduler's queue through the model to their final event."""

    def __init__(self, scheduler: Scheduler, runner: ModelRunner, batch: Batch) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._batch = batch
        self._prefilling: Sequence | None = None

    def step(self) -> None:
        """End what was cancelled, prefill what fits, decode one token of every sequence."""
        self._scheduler.count_iteration()
        for sequence in self._scheduler.take_cancelled():
            self._finish(sequence, SequenceStatus.CANCELLED)
        self._prefill()
        self._decode()

    def abort(self) -> None:
        """End every request with the error the scheduler was closed with.

        Leaves the batch alone: after an exception in the middle of a step it may be inconsistent.
        """
        for sequence in self._scheduler.live():
            self._scheduler.retire(sequence, SequenceStatus.FINISHED)
            self._report(sequence, TokenEvent([], is_final=True, error=self._scheduler.closed_by))

    def _prefill(self) -> None:
        budget = PREFILL_TOKENS_PER_STEP
        while budget > 0:
            self._prefilling = self._prefilling or self._scheduler.admit()
            if self._prefilling is None:
                return
            sequence = self._prefilling
            start = sequence.num_cached
            chunk = sequence.request.input_ids[start : start + budget]
            logits = self._runner.prefill(chunk, start)
            sequence.num_cached += len(chunk)
            budget -= len(chunk)
            if sequence.is_prefilled:
                self._prefilling = None
                self._batch.add(sequence)
                self._advance([(sequence, logits)])

    def _decode(self) -> None:
        if len(self._batch) == 0:
            return
        logits = self._runner.decode(*self._batch.inputs())
        # Split and count before anything advances: a sequence that leaves moves rows of others.
        parts = self._batch.split(logits)
        for sequence, _ in parts:
            sequence.num_cached += 1
        self._advance(parts)

    def _advance(self, parts: list[tuple[Sequence, torch.Tensor]]) -> None:
        """Choose tokens; an exception there is one request's own and ends no other."""
        errors = decoding.advance([(each.decoding, logits) for each, logits in parts])
        for (sequence, _), error in zip(parts, errors, strict=True):
            if error is None:
                self._follow(sequence)
            else:
                name = sequence.request.request_id
                logger.error("request %r failed", name, exc_info=error)
                self._fail(sequence, error)

    def _follow(self, sequence: Sequence) -> None:
        """Let the cache and the listener follow what has been chosen."""
        sequence.times.mark_token()
        if sequence.decoding.is_finished:
            self._finish(sequence, SequenceStatus.FINISHED)
            return
        self._batch.reorder(sequence, sequence.decoding.parents)
        if sequence.request.streaming:
            self._report(sequence, sequence.next_event(is_final=False))

    def _finish(self, sequence: Sequence, status: SequenceStatus) -> None:
        self._retire(sequence, status)
        self._report(sequence, sequence.next_event(is_final=True))

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        self._retire(sequence, SequenceStatus.FINISHED)
        self._report(sequence, TokenEvent([], is_final=True, error=error))

    def _retire(self, sequence: Sequence, status: SequenceStatus) -> None:
        if sequence is self._prefilling:
            self._prefilling = None
        self._batch.remove(sequence)
        self._scheduler.retire(sequence, status)

    def _report(self, sequence: Sequence, event: TokenEvent) -> None:
        """Call `on_event`; a listener that raises hears no more and its request ends."""
        try:
            sequence.on_event(event)
        except Exception:
            logger.exception("on_event of request %r failed", sequence.request.request_id)
            if not event.is_final:
                self._retire(sequence, SequenceStatus.CANCELLED)
