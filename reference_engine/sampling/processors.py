"""What changes a model's scores before a token is chosen by them.

Every processor means what transformers' class of the same purpose means and stands where its
`generate` puts it (huggingface/transformers 5.23, src/transformers/generation/utils.py and
logits_process.py), so that the same request gives the same tokens here and there. Transformers
lacks the presence and frequency penalties; they follow TensorRT-LLM: after the temperature,
counting the prompt (NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/penaltyKernels.cu).
"""

from collections.abc import Callable

import numpy as np
import torch

from engine_step.interface import EngineRequest, RequestRefusedError, SamplingConfig

# Changes scores float32 [rows, vocab] in place, given token ids int64 [rows, length].
Processor = Callable[[torch.Tensor, torch.Tensor], None]

BANNED = float("-inf")


class Bias:
    """Adds a number to the score of each of the first tokens of the vocabulary."""

    def __init__(
        self, bias: np.ndarray[tuple[int], np.dtype[np.float32]], device: torch.device
    ) -> None:
        self._bias = torch.from_numpy(bias).to(device)

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> None:
        """Add the bias to `scores`."""
        scores[:, : len(self._bias)] += self._bias


class RepetitionPenalty:
    """Makes tokens that have occurred less likely (above 1) or more likely (below 1)."""

    def __init__(self, penalty: float) -> None:
        self._penalty = penalty

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Divide positive scores by the penalty, multiply negative ones."""
        seen = scores.gather(1, token_ids)
        seen = torch.where(seen < 0, seen * self._penalty, seen / self._penalty)
        scores.scatter_(1, token_ids, seen)


class OccurrencePenalty:
    """Lowers the score of tokens that have occurred, once (presence) and per time (frequency)."""

    def __init__(self, presence: float, frequency: float) -> None:
        self._presence, self._frequency = presence, frequency

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Subtract the penalties."""
        ones = torch.ones_like(token_ids, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add_(1, token_ids, ones)
        scores -= self._frequency * counts + self._presence * (counts > 0)


class NoRepeatNgram:
    """Bans every token that would complete an n-gram that has occurred."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Ban them row by row."""
        if token_ids.shape[1] < self._size:
            return
        for ids, row in zip(token_ids, scores, strict=True):
            ngrams = ids.unfold(0, self._size, 1)
            prefix = ids[len(ids) - self._size + 1 :]
            row[ngrams[(ngrams[:, :-1] == prefix).all(dim=1), -1]] = BANNED


class BadWords:
    """Bans tokens, and tokens that would complete a word of several."""

    def __init__(self, words: list[list[int]], device: torch.device) -> None:
        tokens = [word[0] for word in words if len(word) == 1]
        self._tokens = torch.tensor(tokens, dtype=torch.int64, device=device)
        self._phrases = [word for word in words if len(word) > 1]
        self._window = max((len(word) - 1 for word in self._phrases), default=0)

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Ban them row by row."""
        scores[:, self._tokens] = BANNED
        if not self._phrases:
            return
        tails = token_ids[:, -self._window :].tolist()
        for row, tail in enumerate(tails):
            last = [each for *begin, each in self._phrases if tail[-len(begin) :] == begin]
            scores[row, last] = BANNED


class MinTokens:
    """Bans the end id until so many tokens have been generated."""

    def __init__(self, prompt_length: int, min_tokens: int, end_id: int) -> None:
        self._length = prompt_length + min_tokens
        self._end_id = end_id

    def __call__(self, token_ids: torch.Tensor, scores: torch.Tensor) -> None:
        """Ban the end id, if it is too early for it."""
        if token_ids.shape[1] < self._length:
            scores[:, self._end_id] = BANNED


def is_greedy(sampling: SamplingConfig) -> bool:
    """Say whether the most likely token is taken (table in `SamplingConfig`, temperature 0)."""
    no_draw = sampling.top_k == 0 and sampling.top_p <= 0
    return no_draw or sampling.top_k == 1 or sampling.temperature == 0


def divisor(sampling: SamplingConfig) -> float:
    """Return what scores are divided by: the temperature, 1 where it is 0."""
    return sampling.temperature or 1.0


def bias(request: EngineRequest, device: torch.device) -> list[Processor]:
    """Return the embedding bias, if there is one; it comes before all else."""
    return [] if request.embedding_bias is None else [Bias(request.embedding_bias, device)]


def constraints(request: EngineRequest, device: torch.device) -> list[Processor]:
    """Return what transformers knows too: repetition, n-grams, bad words, min tokens."""
    sampling = request.sampling
    chain: list[Processor] = []
    if sampling.repetition_penalty != 1:
        chain.append(RepetitionPenalty(sampling.repetition_penalty))
    if sampling.no_repeat_ngram_size > 0:
        chain.append(NoRepeatNgram(sampling.no_repeat_ngram_size))
    if request.bad_words:
        chain.append(BadWords(request.bad_words, device))
    if sampling.min_tokens > 0 and request.end_id >= 0:
        chain.append(MinTokens(len(request.input_ids), sampling.min_tokens, request.end_id))
    return chain


def occurrence_penalties(sampling: SamplingConfig) -> list[Processor]:
    """Return the presence and frequency penalties, if any, for scores not yet divided."""
    if sampling.presence_penalty == 0 and sampling.frequency_penalty == 0:
        return []
    by = divisor(sampling)
    return [OccurrencePenalty(by * sampling.presence_penalty, by * sampling.frequency_penalty)]


def apply(chain: list[Processor], token_ids: torch.Tensor, scores: torch.Tensor) -> None:
    """Run `scores` through `chain`; shapes as in `Processor`."""
    for processor in chain:
        processor(token_ids, scores)


def nothing_to_choose(highest: float) -> Exception:
    """Return the error of a request whose highest score of a step is this one."""
    if highest == BANNED:
        return RequestRefusedError(
            "no token can be chosen: the request bans every token at this point of its output,"
            " or every one that its guide lets come; ban fewer, or name an end id"
        )
    return RuntimeError(f"no token can be chosen: the highest score is {highest}")
