"""Log probabilities of prompts, from the logits of an engine built with gather_context_logits."""

import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from engine_step.interface import EngineRequest, PromptLogProbs, TopTokens

ROWS_AT_ONCE = 256
"""Tokens of a prompt whose probabilities are in memory at a time; each has a whole vocabulary."""


class PromptResult(NamedTuple):
    """What the model thinks of a prompt, and of the token after it."""

    prompt: PromptLogProbs
    next_top: TopTokens | None
    """Of the first token of the reply, where `top_logprobs` was asked for."""


def score_prompt(request: EngineRequest, logits: Any, vocab_size: int) -> PromptResult:
    """Compute what `prompt_logprobs` and `top_logprobs` of a request ask for.

    Args:
        request: `prompt_logprobs` is not -1.
        logits: torch, of the engine's logits type [tokens of the prompt, padded vocabulary]: after
            each token those of the next (NVIDIA/TensorRT-LLM,
            cpp/include/tensorrt_llm/batch_manager/llmRequest.h `allocContextLogitsHost`).
        vocab_size: without the padding.

    Raises:
        RuntimeError: the logits are not of this prompt.
    """
    import torch  # only who asks for them needs it

    from engine_step.top_tokens import PromptScores, top_tokens

    length, sampling = len(request.input_ids), request.sampling
    if logits.dim() != 2 or logits.shape[0] != length or logits.shape[1] < vocab_size:
        raise RuntimeError(
            f"context_logits has the shape {list(logits.shape)} for a prompt of {length} tokens "
            f"and a vocabulary of {vocab_size}"
        )
    scores = PromptScores(request.input_ids, sampling.prompt_logprobs)
    for rows in logits[:, :vocab_size].split(ROWS_AT_ONCE):
        scores.add(rows.float())
    next_top = None
    if sampling.top_logprobs:
        scaled = logits[-1:, :vocab_size].float() / sampling.temperature
        next_top = top_tokens(torch.log_softmax(scaled, dim=-1), sampling.top_logprobs)
    return PromptResult(scores.result(), next_top)


class PromptScorer:
    """Computes them on a thread of its own: a long prompt's take as long as many steps.

    What the executor reports of a request meanwhile is kept here, in order.
    """

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompt-scores")
        self._done: queue.SimpleQueue[tuple[int, PromptResult | Exception]] = queue.SimpleQueue()
        self._held: dict[int, list[Any]] = {}

    def start(self, client_id: int, request: EngineRequest, results: list[Any]) -> None:
        """Queue the prompt whose logits the first `Result`s have, and keep those."""
        self._held[client_id] = results
        self._thread.submit(self._score, client_id, request, results[0].context_logits)

    def hold(self, client_id: int, results: list[Any]) -> bool:
        """Keep later `Result`s of a prompt that is computed; says whether it is."""
        if client_id not in self._held:
            return False
        self._held[client_id] += results
        return True

    def finished(self) -> Iterator[tuple[int, PromptResult | Exception, list[Any]]]:
        """Take what has been computed since the last call: client's id, scores, kept results."""
        while not self._done.empty():
            client_id, scores = self._done.get()
            if client_id in self._held:
                yield client_id, scores, self._held.pop(client_id)

    def close(self) -> list[tuple[int, list[Any]]]:
        """End the thread; returns what was kept, by client's id."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        held, self._held = self._held, {}
        return list(held.items())

    def _score(self, client_id: int, request: EngineRequest, logits: Any) -> None:
        try:
            scores: PromptResult | Exception = score_prompt(request, logits, self._vocab_size)
        except Exception as error:
            scores = error
        self._done.put((client_id, scores))
