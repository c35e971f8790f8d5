"""One request's life in the engine."""

from collections.abc import Callable
from enum import Enum

from reference_engine.beam_search import BeamSearch
from reference_engine.interface import EngineRequest, TokenEvent
from reference_engine.sampler import Sampler


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
        # Positions in the cache, the same for every beam: all but the newest token.
        self.num_cached = 0
        self.rows: list[int] = []
        # An output that does not fit is cut without a word, as in the C++ backend.
        self._max_new_tokens = min(request.request_output_len, max_seq_len - len(request.input_ids))
        self._decoding: Sampler | BeamSearch | None = None
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
    def decoding(self) -> Sampler | BeamSearch:
        """How tokens are chosen; made when first asked for, by the thread that owns torch."""
        if self._decoding is None:
            make = BeamSearch if self.num_rows > 1 else Sampler
            self._decoding = make(self.request, self._max_new_tokens)
        return self._decoding

    def next_event(self, is_final: bool) -> TokenEvent:
        """Return what is to be told now; the tokens in it count as reported."""
        outputs = self._decoding.outputs if self._decoding else [[] for _ in range(self.num_rows)]
        if self.request.streaming:
            # Beams may be rewritten, so every event of a beam search holds them in full.
            begin = self._num_reported if self.num_rows == 1 else 0
            self._num_reported = len(outputs[0])
            return TokenEvent([tokens[begin:] for tokens in outputs], is_final)
        prompt = [] if self.request.exclude_input_in_output else self.request.input_ids
        return TokenEvent([[*prompt, *tokens] for tokens in outputs], is_final)
