"""One request's life in the engine."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import torch

from engine_step.interface import (
    BeamLogProbs,
    EngineRequest,
    FinishReason,
    PerfMetrics,
    PromptLogProbs,
    TokenEvent,
)
from engine_step.top_tokens import PromptScores
from reference_engine.guides import MakeFollower
from reference_engine.model.blocks import BlockPool, SequenceBlocks
from reference_engine.model.kv_cache import Row
from reference_engine.sampling import decoding
from reference_engine.sampling.decoding import Decoding

MAX_SCORED_TOKENS = 256
"""Tokens of a prompt in a step whose logits are all wanted: each has as many as the vocabulary."""


@dataclass(slots=True)
class RequestTimes:
    """Nanoseconds of the monotonic clock at each stage of a request, 0 for one yet to come."""

    arrival: int = field(default_factory=time.monotonic_ns)
    first_scheduled: int = 0
    first_token: int = 0
    last_token: int = 0

    def mark_scheduled(self) -> None:
        """The request runs from now on."""
        self.first_scheduled = time.monotonic_ns()

    def mark_token(self) -> None:
        """A token has been chosen."""
        self.last_token = time.monotonic_ns()
        self.first_token = self.first_token or self.last_token


class SequenceStatus(Enum):
    """Where a request is; the last two are final."""

    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class Sequence:
    """A request, what it has produced, and where its keys and values are."""

    def __init__(
        self,
        request: EngineRequest,
        on_event: Callable[[TokenEvent], None],
        max_seq_len: int,
        make_follower: MakeFollower | None = None,
    ) -> None:
        """Take a request.

        Args:
            request: checked.
            on_event: hears of it.
            max_seq_len: of prompt and output together.
            make_follower: of a guided request, which cannot run before it is done.
        """
        self._make_follower = make_follower
        self.request = request
        self.on_event = on_event
        self.status = SequenceStatus.QUEUED
        self.times = RequestTimes()
        # Positions in the cache, the same for every beam: all but the newest token.
        self.num_cached = 0
        self._blocks: SequenceBlocks | None = None
        self._num_blocks = self._num_reused_blocks = 0
        # An output that does not fit is cut without a word, as in the C++ backend.
        self._max_new_tokens = min(request.request_output_len, max_seq_len - len(request.input_ids))
        self._decoding: Decoding | None = None
        self._num_reported = 0
        num_top = request.sampling.prompt_logprobs
        self._prompt_scores = None if num_top < 0 else PromptScores(request.input_ids, num_top)

    @property
    def is_ready(self) -> bool:
        """Whether it can run: its guide, if it has one, is compiled or refused."""
        return self._make_follower is None or self._make_follower.done()

    @property
    def refusal(self) -> Exception | None:
        """Why a sequence that is ready cannot run."""
        error = self._make_follower.exception() if self._make_follower else None
        return error if isinstance(error, Exception) else None

    @property
    def num_rows(self) -> int:
        """Rows of a decode step the request needs: one a beam."""
        return self.request.sampling.beam_width

    @property
    def is_prefilled(self) -> bool:
        """Whether the whole prompt is in the cache."""
        return self.num_cached >= len(self.request.input_ids)

    @property
    def blocks(self) -> SequenceBlocks:
        """The cache blocks of a running sequence."""
        assert self._blocks is not None, "only a running sequence has blocks"
        return self._blocks

    @property
    def decoding(self) -> Decoding:
        """How tokens are chosen, once there have been logits to choose from."""
        assert self._decoding is not None, "the prompt has yet to be read"
        return self._decoding

    def decoding_on(self, device: torch.device) -> Decoding:
        """Return `decoding`; made when first asked for, by the thread that owns torch."""
        if self._decoding is None:
            follower = self._make_follower.result()() if self._make_follower else None
            self._decoding = decoding.start(self.request, self._max_new_tokens, device, follower)
        return self._decoding

    def num_blocks_needed(self, pool: BlockPool) -> int:
        """Return the cache blocks of its longest output."""
        prompt_length = len(self.request.input_ids)
        length = prompt_length + self._max_new_tokens
        return SequenceBlocks.num_needed(pool, prompt_length, length, self.num_rows)

    def start(self, pool: BlockPool) -> bool:
        """Take cache blocks and run, unless there are not enough of them."""
        # What is reused is not computed, and so has no logits.
        prompt = self.request.input_ids if self._prompt_scores is None else []
        taken = pool.take(prompt, self.num_blocks_needed(pool))
        if taken is None:
            return False
        self._blocks = SequenceBlocks(pool, *taken)
        self.num_cached = self._blocks.num_reused_tokens
        self._num_blocks = self.num_blocks_needed(pool)
        self._num_reused_blocks = self.num_cached // pool.block_size
        self.status = SequenceStatus.RUNNING
        self.times.mark_scheduled()
        return True

    def prefill_row(self, max_tokens: int) -> Row:
        """Return the next part of the prompt."""
        if self._prompt_scores is not None:
            max_tokens = min(max_tokens, MAX_SCORED_TOKENS)
        tokens = self.request.input_ids[self.num_cached : self.num_cached + max_tokens]
        self.blocks.grow(self.num_cached + len(tokens))
        return Row(
            tokens,
            self.num_cached,
            self.blocks.tables[0],
            wants_all_logits=self._prompt_scores is not None,
        )

    def read_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Note what the logits of a part of the prompt say of it; returns the last row's.

        Args:
            logits: float32 [tokens, vocab] of `prefill_row`, or [beams, vocab] of `decode_rows`.
        """
        if self._prompt_scores is None or self._decoding is not None:
            return logits
        self._prompt_scores.add(logits)
        return logits[-1:]

    def decode_rows(self) -> list[Row]:
        """Return the newest token of every beam."""
        self.blocks.grow(self.num_cached + 1)
        return [
            Row([token], self.num_cached, table)
            for token, table in zip(self.decoding.next_tokens, self.blocks.tables, strict=True)
        ]

    def follow_beams(self) -> tuple[list[int], list[int]]:
        """Arrange the blocks as the beams have moved; returns sources and targets of copies."""
        if self.num_cached == len(self.request.input_ids):
            self.blocks.publish(self.request.input_ids)
        if self.num_rows == 1:
            return [], []
        parents = self.decoding.parents if len(self.blocks.tables) > 1 else [0] * self.num_rows
        return self.blocks.fork(parents, self.num_cached)

    def release_blocks(self) -> None:
        """Give back the blocks; what one beam has written stays for later prompts to find."""
        if self._blocks is None:
            return
        if self._decoding is not None and self.num_rows == 1:
            written = [*self.request.input_ids, *self._decoding.outputs[0]]
            self._blocks.publish(written[: self.num_cached])
        self._blocks.release()
        self._blocks = None

    def next_event(self, is_final: bool) -> TokenEvent:
        """Return what is to be told now; the tokens in it count as reported."""
        none: list[list[int]] = [[] for _ in range(self.num_rows)]
        begin = self._num_reported
        outputs = self._decoding.outputs if self._decoding else none
        if self.request.streaming:
            # Beams may be rewritten, so every event of a beam search holds them in full.
            begin = begin if self.num_rows == 1 else 0
            self._num_reported = len(outputs[0])
            told = [tokens[begin:] for tokens in outputs]
        else:
            prompt = [] if self.request.exclude_input_in_output else self.request.input_ids
            told = [[*prompt, *tokens] for tokens in outputs]
        return TokenEvent(
            told,
            is_final,
            num_generated=sum(map(len, outputs)),
            log_probs=self._log_probs(),
            top=self._decoding.top_tokens(begin) if self._decoding else None,
            prompt=self._take_prompt_log_probs(),
            perf_metrics=self._perf_metrics(is_final),
            finish_reasons=self._finish_reasons() if is_final else None,
        )

    def _log_probs(self) -> list[BeamLogProbs] | None:
        if not self.request.return_log_probs:
            return None
        if self._decoding is None:
            return [BeamLogProbs(0.0, [])] * self.num_rows
        return self._decoding.log_probs

    def _take_prompt_log_probs(self) -> PromptLogProbs | None:
        """Return them once, when the prompt was read."""
        if self._prompt_scores is None or self._decoding is None:
            return None
        scores, self._prompt_scores = self._prompt_scores, None
        return scores.result()

    def _finish_reasons(self) -> list[FinishReason]:
        if self._decoding is None:
            return ["cancelled"] * self.num_rows
        return self._decoding.finish_reasons

    def _perf_metrics(self, is_final: bool) -> PerfMetrics:
        return PerfMetrics(
            arrival_time_ns=self.times.arrival,
            first_scheduled_time_ns=self.times.first_scheduled,
            first_token_time_ns=self.times.first_token,
            last_token_time_ns=self.times.last_token if is_final else 0,
            kv_cache_alloc_total_blocks=self._num_blocks,
            kv_cache_alloc_new_blocks=self._num_blocks - self._num_reused_blocks,
            kv_cache_reused_blocks=self._num_reused_blocks,
        )
