"""One request's life in the engine."""

from collections.abc import Callable
from enum import Enum

from reference_engine import decoding
from reference_engine.decoding import Decoding
from reference_engine.interface import BeamLogProbs, EngineRequest, PerfMetrics, TokenEvent
from reference_engine.request_times import RequestTimes


class SequenceStatus(Enum):
    """Where a request is; the last two are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class Sequence:
    """A request, what it has produced, and where its keys and values are.

    `rows[j]` is the cache row of beam j; empty while the prompt is in the staging row.
    """

    def __init__(
        self, request: EngineRequest, on_event: Callable[[TokenEvent], None], max_seq_len: int
    ) -> None:
        self.request = request
        self.on_event = on_event
        self.status = SequenceStatus.QUEUED
        self.times = RequestTimes()
        # Positions in the cache, the same for every beam: all but the newest token.
        self.num_cached = 0
        self.rows: list[int] = []
        # An output that does not fit is cut without a word, as in the C++ backend.
        self._max_new_tokens = min(request.request_output_len, max_seq_len - len(request.input_ids))
        self._decoding: Decoding | None = None
        self._num_reported = 0

    @property
    def num_rows(self) -> int:
        """Cache rows the request needs: one a beam."""
        return self.request.sampling.beam_width

    @property
    def is_prefilled(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.num_cached >= len(self.request.input_ids)

    @property
    def decoding(self) -> Decoding:
        """How tokens are chosen; made when first asked for, by the thread that owns torch."""
        if self._decoding is None:
            self._decoding = decoding.start(self.request, self._max_new_tokens)
        return self._decoding

    def next_event(self, is_final: bool) -> TokenEvent:
        """Return what is to be told now; the tokens in it count as reported."""
        none: list[list[int]] = [[] for _ in range(self.num_rows)]
        outputs = self._decoding.outputs if self._decoding else none
        if self.request.streaming:
            # Beams may be rewritten, so every event of a beam search holds them in full.
            begin = self._num_reported if self.num_rows == 1 else 0
            self._num_reported = len(outputs[0])
            told = [tokens[begin:] for tokens in outputs]
        else:
            prompt = [] if self.request.exclude_input_in_output else self.request.input_ids
            told = [[*prompt, *tokens] for tokens in outputs]
        return TokenEvent(
            told, is_final, log_probs=self._log_probs(), perf_metrics=self._perf_metrics()
        )

    def _log_probs(self) -> list[BeamLogProbs] | None:
        if not self.request.return_log_probs:
            return None
        if self._decoding is None:
            return [BeamLogProbs(0.0, [])] * self.num_rows
        return self._decoding.log_probs

    def _perf_metrics(self) -> PerfMetrics:
        num_blocks = self.num_cached * self.num_rows
        return PerfMetrics(
            arrival_time_ns=self.times.arrival,
            first_scheduled_time_ns=self.times.first_scheduled,
            first_token_time_ns=self.times.first_token,
            last_token_time_ns=self.times.last_token,
            kv_cache_alloc_total_blocks=num_blocks,
            kv_cache_alloc_new_blocks=num_blocks,
            kv_cache_reused_blocks=0,
        )
