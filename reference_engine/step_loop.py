"""What the engine's thread does in one step: cancel, admit, one forward pass, choose tokens."""

import logging
import time

import torch

from engine_step.interface import RankLostError, TokenEvent
from reference_engine.model.kv_cache import Row
from reference_engine.model.model_runner import Runner
from reference_engine.prefill_budget import PrefillBudget
from reference_engine.sampling import decoding
from reference_engine.scheduler import Scheduler
from reference_engine.sequence import Sequence, SequenceStatus

Work = tuple[Sequence, list[Row]]
"""What a sequence has in a forward pass."""

logger = logging.getLogger(__name__)


class StepLoop:
    """Moves requests from the scheduler's queue through the model to their final event."""

    def __init__(self, scheduler: Scheduler, runner: Runner) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._budget = PrefillBudget()

    def step(self) -> None:
        """End what was cancelled, admit what fits, compute one token of every running sequence.

        Raises:
            RankLostError: the model cannot be used any more.
        """
        for sequence in self._scheduler.take_cancelled():
            self._finish(sequence, SequenceStatus.CANCELLED)
        while admitted := self._scheduler.admit():
            if admitted.refusal:
                self._fail(admitted, admitted.refusal)
        streams, prompts = self._plan()
        work = [*streams, *prompts]
        prompt_tokens = sum(len(rows[0].tokens) for _, rows in prompts)
        self._scheduler.count_iteration(prompt_tokens)
        if not work:
            return
        started = time.perf_counter()
        try:
            logits = self._runner.forward([row for _, rows in work for row in rows])
        except RankLostError:
            raise
        except Exception as error:
            logger.exception("a forward pass failed; its requests end, the engine goes on")
            for sequence, _ in work:
                self._fail(sequence, error)
            return
        parts = torch.split(logits, [sum(row.num_logits for row in rows) for _, rows in work])
        for sequence, rows in work:
            sequence.num_cached = rows[0].end
        read = [
            (sequence, sequence.read_logits(part))
            for (sequence, _), part in zip(work, parts, strict=True)
        ]
        self._advance([each for each in read if each[0].is_prefilled])
        if streams:
            self._budget.note(prompt_tokens, time.perf_counter() - started)

    def fail_running(self, error: Exception) -> None:
        """End the running requests with `error`; those that wait go on waiting."""
        for sequence in self._scheduler.running():
            self._fail(sequence, error)

    def _plan(self) -> tuple[list[Work], list[Work]]:
        """Return the rows of the next forward pass: all streams, and prompts in their order."""
        running = self._scheduler.running()
        streams = [(each, each.decode_rows()) for each in running if each.is_prefilled]
        budget = self._budget.tokens(sum(len(rows) for _, rows in streams))
        prompts: list[Work] = []
        for sequence in running:
            if not sequence.is_prefilled and budget:
                row = sequence.prefill_row(budget)
                budget -= len(row.tokens)
                prompts.append((sequence, [row]))
        return streams, prompts

    def _advance(self, parts: list[tuple[Sequence, torch.Tensor]]) -> None:
        """Choose tokens; an exception there is one request's own and ends no other."""
        errors = decoding.advance(
            [(each.decoding_on(logits.device), logits) for each, logits in parts]
        )
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
        self._runner.copy_blocks(*sequence.follow_beams())
        if sequence.request.streaming:
            _report(self._scheduler, sequence, sequence.next_event(is_final=False))

    def _finish(self, sequence: Sequence, status: SequenceStatus) -> None:
        self._scheduler.retire(sequence, status)
        _report(self._scheduler, sequence, sequence.next_event(is_final=True))

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        self._scheduler.retire(sequence, SequenceStatus.FINISHED)
        _report(self._scheduler, sequence, TokenEvent([], is_final=True, error=error))


def abort(scheduler: Scheduler) -> None:
    """End every request with the error the scheduler was closed with."""
    for sequence in scheduler.live():
        scheduler.retire(sequence, SequenceStatus.FINISHED)
        _report(scheduler, sequence, TokenEvent([], is_final=True, error=scheduler.closed_by))


def _report(scheduler: Scheduler, sequence: Sequence, event: TokenEvent) -> None:
    """Call `on_event`; a listener that raises hears no more and its request ends."""
    try:
        sequence.on_event(event)
    except Exception:
        logger.exception("on_event of request %r failed", sequence.request.request_id)
        if not event.is_final:
            scheduler.retire(sequence, SequenceStatus.CANCELLED)
