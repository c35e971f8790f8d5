"""One request between its caller and the executor."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from engine_step.interface import (
    BeamLogProbs,
    EngineRequest,
    FinishReason,
    PerfMetrics,
    TokenEvent,
    TopTokens,
)
from executor_engine.prompt_scores import PromptResult

MICROSECOND = timedelta(microseconds=1)
FINISH_REASONS: dict[str, FinishReason] = {
    "END_ID": "stop",
    "STOP_WORDS": "stop",
    "LENGTH": "length",
    "TIMED_OUT": "cancelled",
    "CANCELLED": "cancelled",
}
"""By the executor's names. What a last response calls NOT_FINISHED was cancelled."""


@dataclass(slots=True, eq=False)
class LiveRequest:
    """What has been reported of a request, until the executor's last response of it.

    The caller's part may end before that: `is_answered` then, and nothing more is reported.
    """

    request: EngineRequest
    on_event: Callable[[TokenEvent], None]
    number: int | None = None
    """The executor's."""
    cancelled_at: float | None = None
    is_answered: bool = False
    scores: PromptResult | None = None
    arrival_time_ns: int = field(default_factory=time.monotonic_ns)
    _beams: list[list[int]] = field(default_factory=list)
    _num_generated: int = 0
    _log_probs: list[BeamLogProbs] | None = None
    _perf_metrics: PerfMetrics | None = None
    _reported_scores: bool = False

    def __post_init__(self) -> None:
        width = self.request.sampling.beam_width
        self._beams = [[] for _ in range(width)]
        if self.request.return_log_probs:
            self._log_probs = [BeamLogProbs(0.0, []) for _ in range(width)]

    @property
    def awaits_scores(self) -> bool:
        """Whether the prompt's log probabilities are asked for and not there yet."""
        return (
            not self.is_answered
            and self.scores is None
            and self.request.sampling.prompt_logprobs >= 0
        )

    def take(self, results: list[Any]) -> None:
        """Report the next `Result`s, or keep them where the caller wants one reply at the end.

        They are one event, except with log probabilities: each token's own are wanted.
        """
        if self._log_probs is None:
            self._take_joined(results)
            return
        for result in results:
            self._take_joined([result])

    def _take_joined(self, results: list[Any]) -> None:
        last = results[-1]
        is_final: bool = last.is_final
        fresh: list[int] = []
        if len(self._beams) == 1:
            for result in results:
                fresh += result.output_token_ids[0]
            self._num_generated += len(fresh)
            if not self.request.streaming:
                self._beams[0] += fresh
        else:
            self._take_beams(results)
        if self._log_probs is not None:
            self._take_log_probs(last)
        if self.request.return_perf_metrics and (is_final or self._perf_metrics is None):
            self._perf_metrics = self._read_perf_metrics(last)
        reasons = _finish_reasons(last) if is_final else None
        if self.request.streaming and len(self._beams) == 1:
            self._report([fresh], reasons)
        elif self.request.streaming or is_final:
            self._report(self._whole(), reasons)

    def end(self) -> None:
        """Tell a caller who has cancelled what there is; the executor's answer is not awaited."""
        nothing: list[list[int]] = [[]]
        streams = self.request.streaming and len(self._beams) == 1
        cancelled: list[FinishReason] = ["cancelled"] * len(self._beams)
        self._report(nothing if streams else self._whole(), cancelled)

    def fail(self, error: Exception) -> None:
        """End it for its caller with an error."""
        if not self.is_answered:
            self.is_answered = True
            self.on_event(TokenEvent([], is_final=True, error=error))

    def _whole(self) -> list[list[int]]:
        if self.request.streaming or self.request.exclude_input_in_output:
            return self._beams
        return [[*self.request.input_ids, *tokens] for tokens in self._beams]

    def _report(
        self, output_ids: list[list[int]], finish_reasons: list[FinishReason] | None
    ) -> None:
        """Report tokens; the reasons go with the last."""
        if self.is_answered:
            return
        self.is_answered = is_final = finish_reasons is not None
        scores = None if self._reported_scores else self.scores
        self._reported_scores = scores is not None or self._reported_scores
        self.on_event(
            TokenEvent(
                output_ids,
                is_final,
                num_generated=self._num_generated,
                log_probs=self._log_probs,
                top=_with_tokens(scores.next_top, output_ids) if scores else None,
                prompt=scores.prompt if scores else None,
                perf_metrics=self._perf_metrics,
                finish_reasons=finish_reasons,
            )
        )

    def _take_beams(self, results: list[Any]) -> None:
        """Keep the beams so far; a cancelled request has none any more, and keeps what it had."""
        for result in results:
            if any(beams := result.output_token_ids):
                self._beams = beams
        self._num_generated = sum(map(len, self._beams))

    def _take_log_probs(self, result: Any) -> None:
        """Keep the lists so far; where the executor has none any more, the last ones stay."""
        lists, sums = result.log_probs, result.cum_log_probs
        if not lists or not any(lists):
            return
        one = len(self._beams) == 1
        lengths = [self._num_generated] if one else [len(tokens) for tokens in self._beams]
        self._log_probs = [
            BeamLogProbs(cumulative, tokens[:length])
            for cumulative, tokens, length in zip(sums, lists, lengths, strict=True)
        ]

    def _read_perf_metrics(self, result: Any) -> PerfMetrics | None:
        """Read them at the first and the last response; each read copies the whole structure.

        The arrival is our own, in nanoseconds: it names the stream (docs/decisions/0002), and the
        executor's is in microseconds.
        """
        metrics = result.request_perf_metrics
        if metrics is None:
            return None
        times, blocks = metrics.timing_metrics, metrics.kv_cache_metrics
        return PerfMetrics(
            arrival_time_ns=self.arrival_time_ns,
            first_scheduled_time_ns=_nanoseconds(times.first_scheduled_time),
            first_token_time_ns=_nanoseconds(times.first_token_time),
            last_token_time_ns=_nanoseconds(times.last_token_time) if result.is_final else 0,
            kv_cache_alloc_total_blocks=blocks.num_total_allocated_blocks,
            kv_cache_alloc_new_blocks=blocks.num_new_allocated_blocks,
            kv_cache_reused_blocks=blocks.num_reused_blocks,
        )


def _with_tokens(next_top: TopTokens | None, output_ids: list[list[int]]) -> TopTokens | None:
    """Return the likeliest tokens in the place of the only one, unless the end id was drawn."""
    return next_top if output_ids[0] else None


def _nanoseconds(since_start: timedelta) -> int:
    return since_start // MICROSECOND * 1000


def _finish_reasons(result: Any) -> list[FinishReason]:
    return [FINISH_REASONS.get(reason.name, "cancelled") for reason in result.finish_reasons]
