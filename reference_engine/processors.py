"""The chain that turns a model's scores into the scores tokens are chosen by.

The classes are transformers' own and stand in the order of its `generate`
(huggingface/transformers 5.23, src/transformers/generation/utils.py), so that the same request
gives the same tokens here and there. Presence and frequency penalties, which transformers lacks,
follow TensorRT-LLM: after the temperature, counting the prompt
(NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/penaltyKernels.cu).
"""

from collections.abc import Callable

import torch
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reference_engine.interface import EngineRequest, SamplingConfig

# Token ids int64 [rows, length] and scores float32 [rows, vocab] to scores of the same shape.
Processor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class OccurrencePenalty:
    """Lowers the score of tokens that have occurred, once (presence) and per time (frequency)."""

    def __init__(self, presence: float, frequency: float) -> None:
        self._presence, self._frequency = presence, frequency

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return `scores` minus the penalties, float32 [rows, vocab]."""
        ones = torch.ones_like(token_ids, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add_(1, token_ids, ones)
        return scores - self._frequency * counts - self._presence * (counts > 0)


def is_greedy(sampling: SamplingConfig) -> bool:
    """Say whether the most likely token is taken (table in `SamplingConfig`, temperature 0)."""
    no_draw = sampling.top_k == 0 and sampling.top_p <= 0
    return no_draw or sampling.top_k == 1 or sampling.temperature == 0


def constraints(request: EngineRequest) -> list[Processor]:
    """Return what holds for every way of choosing: repetition, n-grams, bad words, min tokens."""
    sampling = request.sampling
    chain: list[Processor] = []
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.no_repeat_ngram_size > 0:
        chain.append(NoRepeatNGramLogitsProcessor(sampling.no_repeat_ngram_size))
    # The end id stays possible, as in transformers: banning it is not what bad words are for.
    if bad_words := [word for word in request.bad_words if word != [request.end_id]]:
        chain.append(NoBadWordsLogitsProcessor(bad_words))
    if sampling.min_tokens > 0 and request.end_id >= 0:
        prompt_length = len(request.input_ids)
        chain.append(
            MinNewTokensLengthLogitsProcessor(prompt_length, sampling.min_tokens, request.end_id)
        )
    return chain


def temperature(sampling: SamplingConfig) -> list[Processor]:
    """Return the division by the temperature, if it changes anything."""
    if sampling.temperature in (0, 1):
        return []
    return [TemperatureLogitsWarper(float(sampling.temperature))]


def occurrence_penalties(sampling: SamplingConfig) -> list[Processor]:
    """Return the presence and frequency penalties, if there are any."""
    if sampling.presence_penalty == 0 and sampling.frequency_penalty == 0:
        return []
    return [OccurrencePenalty(sampling.presence_penalty, sampling.frequency_penalty)]


def truncations(sampling: SamplingConfig) -> list[Processor]:
    """Return the cuts to the `top_k` most likely tokens and to the `top_p` mass."""
    chain: list[Processor] = []
    if sampling.top_k > 0:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if 0 < sampling.top_p < 1:
        chain.append(TopPLogitsWarper(float(sampling.top_p)))
    return chain


def apply(chain: list[Processor], token_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Run `scores` through `chain`; shapes as in `Processor`."""
    for processor in chain:
        scores = processor(token_ids, scores)
    return scores
