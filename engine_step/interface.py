"""What stands between the Triton adapter and an engine: requests in, token events out.

Every engine behind the `tensorrt_llm` step implements `Engine`, and the adapter knows nothing else
about it (docs/decisions/0009-replaceable-engine-stage.md). Field names and meanings are those of
the C++ backend's tensors (NVIDIA/TensorRT-LLM,
triton_backend/all_models/inflight_batcher_llm/tensorrt_llm).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from aeolus_contract.request_parameters import DEFAULT_PRIORITY
from engine_step.sampling_config import SamplingConfig as SamplingConfig
from guided_decoding.guide import Guide


class RequestRefusedError(ValueError):
    """The request cannot be served as it stands; the text says what is wrong and what to do."""


class QueueFullError(RuntimeError):
    """The engine's waiting queue has reached its limit; the caller may try again later."""


class RankLostError(RuntimeError):
    """A tensor parallel rank has ended or failed, and its requests with it; all start again."""


class EngineStoppedError(RuntimeError):
    """The engine was shut down or its step loop failed; it serves nothing any more."""


FinishReason = Literal["stop", "length", "cancelled", "error"]
"""Why a sequence ended: end id or stop word, the limit of tokens, `Engine.cancel`, a failure."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One prompt to continue.

    `stop_words` end a sequence and stay in the output; `end_id` ends it and does not
    (C++ backend, cpp/tensorrt_llm/kernels/stopCriteriaKernels.cu). `end_id` -1: never.
    Where there is a `guide` the output matches it, unless it ends by length or by a stop word.
    `priority`, 0 to 1, orders the requests that wait: the higher first, equal ones as they came.
    `embedding_bias` float32 [up to the vocabulary] is added to the logits before all else.
    """

    request_id: str
    input_ids: list[int]
    request_output_len: int
    end_id: int = -1
    pad_id: int = 0
    stop_words: list[list[int]] = field(default_factory=list)
    bad_words: list[list[int]] = field(default_factory=list)
    embedding_bias: np.ndarray[tuple[int], np.dtype[np.float32]] | None = field(
        default=None, compare=False
    )
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    return_log_probs: bool = False
    return_perf_metrics: bool = False
    streaming: bool = False
    exclude_input_in_output: bool = True
    priority: float = DEFAULT_PRIORITY
    guide: Guide | None = None


@dataclass(frozen=True, slots=True)
class BeamLogProbs:
    """Natural logarithms of probabilities after penalties and temperature, before top-k and top-p.

    `tokens` has one of each generated token, the prompt aside, from the first one on in every
    event of a stream; `cumulative` is their sum, with the end id's.
    """

    cumulative: float
    tokens: list[float]


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The most likely tokens at each of some positions, the likeliest first, by their ids."""

    ids: list[list[int]]
    log_probs: list[list[float]]


@dataclass(frozen=True, slots=True)
class PromptLogProbs:
    """What the model itself, without penalties and temperature, thinks of a prompt.

    Every list has an entry a token; the first token, which follows nothing, has 0 and ids of -1.
    """

    token_ids: list[int]
    log_probs: list[float]
    top: TopTokens | None
    """`prompt_logprobs` tokens at each position, where more than 0 were asked for."""


@dataclass(frozen=True, slots=True)
class PerfMetrics:
    """A request's life so far: nanoseconds of the monotonic clock, 0 for what is yet to come."""

    arrival_time_ns: int
    first_scheduled_time_ns: int
    first_token_time_ns: int
    last_token_time_ns: int
    """Of the token that ended the request; so in a stream it marks the last event."""
    kv_cache_alloc_total_blocks: int
    kv_cache_alloc_new_blocks: int
    kv_cache_reused_blocks: int


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """What an engine reports of one request.

    `output_ids` holds one list a beam: the tokens not reported before when streaming with one
    beam, otherwise all of them, best beam first, after the prompt unless it is excluded. A final
    event may hold no token (the end id was drawn) and, after a cancel, holds what there was.
    With `error` set the event is final and holds no tokens. A final event without one says in
    `finish_reasons` why each beam ended, where the engine knows. `log_probs` has an entry a beam
    if they were asked for, `top` one for each token of the only beam that is in `output_ids`, and
    the first event that follows the prompt has `prompt`. `num_generated` counts the tokens of all
    beams so far, reported or not.
    """

    output_ids: list[list[int]]
    is_final: bool
    error: Exception | None = None
    num_generated: int = 0
    log_probs: list[BeamLogProbs] | None = None
    top: TopTokens | None = None
    prompt: PromptLogProbs | None = None
    perf_metrics: PerfMetrics | None = None
    finish_reasons: list[FinishReason] | None = None

    def followed_by(self, later: "TokenEvent") -> "TokenEvent | None":
        """Return what both say: a stream's tokens one after the other; of beams the later says all.

        An event without tokens stays by itself: it is an error, or tells that an end id was drawn.
        So does one with log probabilities: who asks for them wants each token's text apart.
        """
        if not any(later.output_ids) or later.log_probs is not None or later.top is not None:
            return None
        if len(later.output_ids) > 1:
            return later
        return TokenEvent(  # not `replace`: this is done for each token
            [self.output_ids[0] + later.output_ids[0]],
            later.is_final,
            later.error,
            later.num_generated,
            prompt=self.prompt,
            perf_metrics=later.perf_metrics,
            finish_reasons=later.finish_reasons,
        )


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of request counts (`active` = `scheduled` + `waiting`) and of KV-cache use.

    Used blocks are those that running requests have reserved; `kv_cache_blocks_reused` counts
    the blocks of prompts that did not have to be computed, since the engine started.

    `context` of the `scheduled` requests have yet to read their prompt to its end; the newest
    iteration read `context_tokens` of prompts.
    """

    iterations: int
    max_requests: int
    scheduled: int
    context: int
    context_tokens: int
    waiting: int
    kv_cache_blocks_used: int
    kv_cache_blocks_max: int
    kv_cache_blocks_reused: int
    kv_cache_tokens_per_block: int
    paused: int = 0
    micro_batch: int = 0
    gpu_bytes: int = 0
    pinned_bytes: int = 0
    ranks: int = 1
    """Processes that share the model and compute it; 0 while they load it anew."""

    @property
    def active(self) -> int:
        """Requests not yet finished, running or waiting."""
        return self.scheduled + self.waiting


class Engine(Protocol):
    """An engine: every method returns at once and may be called from any thread."""

    def submit(self, request: EngineRequest, on_event: Callable[[TokenEvent], None]) -> None:
        """Queue `request`; `on_event` is called from the engine's thread, last with `is_final`.

        Raises:
            RequestRefusedError: the request is invalid; nothing was queued.
            QueueFullError: the waiting queue is full; nothing was queued.
            EngineStoppedError: the engine was shut down or has failed; nothing was queued.
        """
        ...

    def cancel(self, request_id: str) -> None:
        """End the request with a final event at the next step; an unknown id is not an error."""
        ...

    def statistics(self) -> EngineStatistics:
        """Return the current counts."""
        ...

    def is_alive(self) -> bool:
        """Say whether it may still answer; if not, its process should end and another start."""
        ...

    def shutdown(self) -> None:
        """End every request with an error event and stop the engine's thread; waits for it."""
        ...
