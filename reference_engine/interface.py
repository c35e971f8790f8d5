"""What stands between the Triton adapter and an engine: requests in, token events out.

Every engine behind the `tensorrt_llm` step implements `Engine`, and the adapter knows nothing else
about it (docs/decisions/0009-replaceable-engine-stage.md). Field names and meanings are those of
the C++ backend's tensors (NVIDIA/TensorRT-LLM,
triton_backend/all_models/inflight_batcher_llm/tensorrt_llm).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class RequestRefusedError(ValueError):
    """The request can not be served as it stands; the text says what is wrong and what to do."""


class QueueFullError(RuntimeError):
    """The engine's waiting queue has reached its limit; the caller may try again later."""


class RankLostError(RuntimeError):
    """A tensor parallel rank has ended or failed, and its requests with it; all start again."""


class EngineStoppedError(RuntimeError):
    """The engine was shut down or its step loop failed; it serves nothing any more."""


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How the next token is chosen, with the C++ backend's defaults.

    Greedy when `top_k` is 1, or when `top_k` is 0 and `top_p` is 0; beam search when
    `beam_width` is above 1; otherwise a draw from the top-k / top-p distribution
    (`top_k` 0: no limit, `top_p` 0 or 1: no limit).
    """

    beam_width: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    min_tokens: int = 0
    no_repeat_ngram_size: int = 0
    len_penalty: float = 0.0
    early_stopping: int = 1  # 1: stop with beam_width hypotheses; 0: heuristic; 2: never early


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One prompt to continue.

    `stop_words` end a sequence and stay in the output; `end_id` ends it and does not
    (C++ backend, cpp/tensorrt_llm/kernels/stopCriteriaKernels.cu). `end_id` -1: never.
    """

    request_id: str
    input_ids: list[int]
    request_output_len: int
    end_id: int = -1
    pad_id: int = 0
    stop_words: list[list[int]] = field(default_factory=list)
    bad_words: list[list[int]] = field(default_factory=list)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    streaming: bool = False
    exclude_input_in_output: bool = True


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """What an engine reports of one request.

    `output_ids` holds one list a beam: the tokens not reported before when streaming with one
    beam, otherwise all of them, best beam first, after the prompt unless it is excluded. A final
    event may hold no token (the end id was drawn) and, after a cancel, holds what there was.
    With `error` set the event is final and holds no tokens.
    """

    output_ids: list[list[int]]
    is_final: bool
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """A snapshot of request counts (`active` = `scheduled` + `waiting`) and of KV-cache use.

    Used blocks are those that running requests have reserved; `kv_cache_blocks_reused` counts
    the blocks of prompts that did not have to be computed, since the engine started.
    """

    max_requests: int
    scheduled: int
    waiting: int
    kv_cache_blocks_used: int
    kv_cache_blocks_max: int
    kv_cache_blocks_reused: int
    kv_cache_tokens_per_block: int

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

    def shutdown(self) -> None:
        """End every request with an error event and stop the engine's thread; waits for it."""
        ...
