"""The reply to one request, chunk by chunk, from the ensemble's responses."""

import sys
from typing import cast

from aeolus_client.errors import GenerationFailedError
from aeolus_client.generation import Completion, FinishReason, GenerationRequest, TextChunk
from aeolus_client.triton.tensors import EnsembleResponse


class Reply:
    """Counts a reply's tokens and finds its end; responses of one request, in order."""

    def __init__(self, request: GenerationRequest, max_seq_len: int):
        """Begin an empty reply.

        Args:
            request: what was asked.
            max_seq_len: most tokens of prompt and reply together in the engine.
        """
        self._request = request
        self._max_seq_len = max_seq_len
        self._completion_tokens = 0
        self.is_complete = False
        """Whether the newest chunk is the last; the engine may go on after a stop string."""

    def chunk_of(self, response: EnsembleResponse) -> TextChunk:
        """Return what a response adds.

        Raises:
            GenerationFailedError: it is the last, and the engine was stopped by someone else.
        """
        request = self._request
        echoed = 0 if request.exclude_input_in_output else response.prompt_tokens
        begin = self._completion_tokens
        self._completion_tokens = end = begin + response.tokens - echoed
        budget = self._budget(response.prompt_tokens)
        reason: FinishReason | None = None
        if response.stop_reason is not None:
            reason = "stop"
        elif response.is_final:
            reason = _finish_reason(response.finish_reason, end, budget)
        self.is_complete = reason is not None
        last_text = response.pending_text if response.is_final else ""
        if request.include_stop_str_in_output:
            last_text += response.stop_reason or ""
        log_probs = _log_probs_of(response.log_probs, begin, end)
        return TextChunk(
            text=response.text + last_text,
            prompt_tokens=response.prompt_tokens,
            completion_tokens=end,
            finish_reason=reason,
            output_ids=response.output_ids[echoed:],
            log_probs=log_probs,
            token_texts=_with_end(response.token_texts[: len(log_probs)], last_text),
            top=response.top[: len(log_probs)],
            prompt=response.prompt,
            other_beams=[
                Completion(
                    text=beam.text,
                    prompt_tokens=response.prompt_tokens,
                    completion_tokens=beam.tokens - echoed,
                    finish_reason=_finish_reason(beam.finish_reason, beam.tokens - echoed, budget),
                )
                for beam in response.other_beams
            ],
        )

    def _budget(self, prompt_tokens: int) -> int:
        """Return how many tokens preprocessing allows the reply."""
        max_length = min(self._request.max_length or sys.maxsize, self._max_seq_len)
        return min(self._request.max_tokens, max_length - prompt_tokens)


def _finish_reason(reported: str | None, completion_tokens: int, budget: int) -> FinishReason:
    """Return why a reply ended; of an engine that does not say, `length` at the budget.

    Raises:
        GenerationFailedError: it was cancelled, by another than who reads it.
    """
    if reported == "cancelled":
        raise GenerationFailedError("the engine was told to stop before the reply was complete")
    if reported in ("stop", "length"):
        return cast(FinishReason, reported)
    return "length" if completion_tokens >= budget else "stop"


def _with_end(texts: list[str], end: str) -> list[str]:
    return [*texts[:-1], texts[-1] + end] if texts else []


def _log_probs_of(values: list[float], begin: int, end: int) -> list[float]:
    """Return those of the tokens `begin` to `end` of the reply.

    TensorRT-LLM's streams repeat them from the beginning (NVIDIA/TensorRT-LLM,
    cpp/tensorrt_llm/batch_manager/llmRequest.cpp); others send only those of the response.
    """
    return values[begin:end] if len(values) >= end else values[: end - begin]
