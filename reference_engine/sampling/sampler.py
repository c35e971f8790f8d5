"""Continuations of prompts, token after token: greedy or drawn, many in one go."""

import random
from collections import defaultdict
from collections.abc import Sequence

import torch

from engine_step.interface import (
    BeamLogProbs,
    EngineRequest,
    FinishReason,
    RequestRefusedError,
    TopTokens,
)
from engine_step.top_tokens import top_tokens
from guided_decoding.grammar import Follower
from guided_decoding.guide import GuideError
from reference_engine.sampling import processors
from reference_engine.sampling.stop_criteria import StopCriteria
from reference_engine.sampling.truncation import keep_min_p, keep_top_k, keep_top_p


class Sampler:
    """The continuation of a request with one beam; `advance` chooses its tokens.

    A seeded draw equals `torch.manual_seed(seed)` before transformers' `generate(do_sample=True)`,
    whatever else runs in the batch, because the generator is the request's own.
    """

    num_rows = 1
    parents = (0,)

    def __init__(
        self,
        request: EngineRequest,
        max_new_tokens: int,
        device: torch.device,
        follower: Follower | None = None,
    ) -> None:
        self._follower = follower
        self.sampling = request.sampling
        self.is_greedy = processors.is_greedy(request.sampling)
        self.divisor = processors.divisor(request.sampling)
        self.top_p = request.sampling.top_p
        self.num_top = request.sampling.top_logprobs
        self.wants_log_probs = request.return_log_probs or self.num_top > 0
        self._stop = StopCriteria(request, max_new_tokens)
        self._chain = (
            processors.bias(request, device)
            + processors.constraints(request, device)
            + processors.occurrence_penalties(request.sampling)
        )
        self._generator: torch.Generator | None = None

        self._prompt = request.input_ids
        self._generated: list[int] = []
        # For the chain: prompt and output, int64 [1, the longest output].
        if self._chain:
            longest = self._length + max_new_tokens
            self._token_ids = torch.empty(1, longest, dtype=torch.int64, device=device)
            self._token_ids[0, : self._length] = torch.tensor(request.input_ids, device=device)
        self._log_probs: list[float] = []
        self._top = TopTokens([], [])
        self._cumulative = 0.0
        self.next_tokens: list[int] = []
        self._finish_reason: FinishReason | None = None

    @property
    def outputs(self) -> list[list[int]]:
        """The generated tokens without the end id, as the only beam."""
        return [self._generated]

    @property
    def is_finished(self) -> bool:
        """Whether nothing follows."""
        return self._finish_reason is not None

    @property
    def finish_reasons(self) -> list[FinishReason]:
        """Why it ended; if it has not, it was cancelled."""
        return [self._finish_reason or "cancelled"]

    @property
    def log_probs(self) -> list[BeamLogProbs]:
        """Those of `outputs`, if the request asked for them."""
        return [BeamLogProbs(self._cumulative, list(self._log_probs))]

    def top_tokens(self, begin: int) -> TopTokens | None:
        """Return the likeliest tokens in the place of each output token from `begin` on."""
        if not self.num_top:
            return None
        return TopTokens(self._top.ids[begin:], self._top.log_probs[begin:])

    def process(self, scores: torch.Tensor) -> None:
        """Apply the request's bias, penalties, bans and guide to float32 [1, vocab], in place."""
        if self._chain:
            processors.apply(self._chain, self._token_ids[:, : self._length], scores)
        if self._follower:
            try:
                allowed = self._follower.allowed()
            except GuideError as error:
                raise RequestRefusedError(f"guided_decoding_guide {error}") from error
            banned = torch.from_numpy(~allowed).to(scores.device)
            scores.masked_fill_(banned, processors.BANNED)

    def fill_with_noise(self, row: torch.Tensor) -> None:
        """Draw float32 [vocab] from the exponential distribution by the seed, in place."""
        if self._generator is None:
            assert self.sampling.seed is not None, "only seeded requests draw their own noise"
            self._generator = torch.Generator(row.device).manual_seed(self.sampling.seed)
        row.exponential_(generator=self._generator)

    def accept(self, token: int, log_prob: float, top: TopTokens | None = None) -> None:
        """Continue with `token`, or finish if it is the end id.

        Args:
            token: the one chosen.
            log_prob: its own.
            top: of the one position, where the request asks for it.
        """
        self._cumulative += log_prob
        if self._follower:
            self._follower.accept(token)
        if self._stop.is_end(token):
            self._finish_reason = "stop"
            return
        self._log_probs.append(log_prob)
        if top is not None:
            self._top.ids.extend(top.ids)
            self._top.log_probs.extend(top.log_probs)
        self._decay_top_p(token)
        if self._chain:
            self._token_ids[0, self._length] = token
        self._generated.append(token)
        self.next_tokens = [token]
        window = self._stop.window
        if window and self._stop.matches_stop_word(self._tail(window)):
            self._finish_reason = "stop"
        elif len(self._generated) == self._stop.max_new_tokens:
            self._finish_reason = "length"

    @property
    def _length(self) -> int:
        return len(self._prompt) + len(self._generated)

    def _tail(self, length: int) -> list[int]:
        missing = max(0, length - len(self._generated))
        before = self._prompt[max(0, len(self._prompt) - missing) :]
        return [*before, *self._generated[-length:]]

    def _decay_top_p(self, token: int) -> None:
        """Source: NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/samplingTopPKernels.cu."""
        sampling = self.sampling
        if token == sampling.top_p_reset_id:
            self.top_p = sampling.top_p
        elif sampling.top_p_decay < 1:
            self.top_p = max(self.top_p * sampling.top_p_decay, sampling.top_p_min)


def advance(samplers: Sequence[Sampler], scores: torch.Tensor) -> list[Exception | None]:
    """Choose the next token of every sampler.

    Args:
        samplers: of different requests.
        scores: the logits, float32 [samplers, vocab]; overwritten.

    Returns:
        What went wrong with each of them, mostly nothing. One that failed has not advanced.
    """
    failures = [_process(sampler, scores[i : i + 1]) for i, sampler in enumerate(samplers)]
    best = torch.max(scores, dim=-1)
    tokens, is_possible = best.indices, torch.isfinite(best.values)
    highest = best.values.tolist()
    divisors = [sampler.divisor for sampler in samplers]
    if any(divisor != 1 for divisor in divisors):
        scores /= torch.tensor(divisors, device=scores.device)[:, None]
    log_probs = _LogProbs(samplers, scores)
    for rows in _equal_draws(samplers).values():
        group = [samplers[row] for row in rows]
        part = scores if len(rows) == len(samplers) else scores[rows]
        tokens[rows], is_possible[rows] = _draw(group, part)
    chosen = tokens.tolist()
    for i, possible in enumerate(is_possible.tolist()):
        if failures[i] is None and not possible:
            failures[i] = processors.nothing_to_choose(highest[i])
    for row, (sampler, token, log_prob, failure) in enumerate(
        zip(samplers, chosen, log_probs.of(tokens), failures, strict=True)
    ):
        if failure is None:
            sampler.accept(token, log_prob, log_probs.top(row, sampler.num_top))
    return failures


class _LogProbs:
    """The log-probabilities of all tokens, in the rows of samplers that want them."""

    def __init__(self, samplers: Sequence[Sampler], scores: torch.Tensor) -> None:
        self._num_rows = len(samplers)
        self._rows = [i for i, sampler in enumerate(samplers) if sampler.wants_log_probs]
        self._all = torch.log_softmax(scores[self._rows], dim=-1) if self._rows else None

    def of(self, tokens: torch.Tensor) -> list[float]:
        """Return that of one token a row; 0 in rows that do not want it."""
        log_probs = [0.0] * self._num_rows
        if self._all is not None:
            chosen = self._all.gather(1, tokens[self._rows, None])[:, 0].tolist()
            for row, log_prob in zip(self._rows, chosen, strict=True):
                log_probs[row] = log_prob
        return log_probs

    def top(self, row: int, number: int) -> TopTokens | None:
        """Return the likeliest tokens of a row, if any are asked for."""
        if not number or self._all is None:
            return None
        place = self._rows.index(row)
        return top_tokens(self._all[place : place + 1], number)


def _process(sampler: Sampler, scores: torch.Tensor) -> Exception | None:
    try:
        sampler.process(scores)
    except Exception as error:
        return error
    return None


def _equal_draws(samplers: Sequence[Sampler]) -> dict[tuple[int, bool, float, bool], list[int]]:
    """Return the rows to draw in, by what is left out before the draw and by having a seed."""
    groups: dict[tuple[int, bool, float, bool], list[int]] = defaultdict(list)
    for row, sampler in enumerate(samplers):
        if not sampler.is_greedy:
            sampling = sampler.sampling
            key = sampling.top_k, 0 < sampler.top_p < 1, sampling.min_p, sampling.seed is None
            groups[key].append(row)
    return groups


def _draw(samplers: Sequence[Sampler], scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a token a row of float32 [rows, vocab], and whether it has a probability."""
    if top_k := samplers[0].sampling.top_k:
        keep_top_k(scores, top_k)
    if 0 < samplers[0].top_p < 1:
        top_p = [sampler.top_p for sampler in samplers]
        keep_top_p(scores, torch.tensor(top_p, dtype=torch.float64, device=scores.device))
    if min_p := samplers[0].sampling.min_p:
        keep_min_p(scores, min_p)
    probabilities = torch.softmax(scores, dim=-1)
    unseeded = samplers[0].sampling.seed is None
    tokens = _draw_at_once(probabilities) if unseeded else _draw_by_seeds(samplers, probabilities)
    return tokens, probabilities.gather(1, tokens[:, None])[:, 0] > 0


def _draw_at_once(probabilities: torch.Tensor) -> torch.Tensor:
    """Draw by one random number a row, many times faster than a number a token."""
    masses = probabilities.cumsum(dim=-1, dtype=torch.float64)
    numbers = [[random.random()] for _ in probabilities]  # noqa: S311
    where = torch.tensor(numbers, dtype=torch.float64, device=masses.device)
    tokens = torch.searchsorted(masses, where * masses[:, -1:], right=True)
    return tokens[:, 0].clamp(max=probabilities.shape[1] - 1)  # beyond it if they are NaN


def _draw_by_seeds(samplers: Sequence[Sampler], probabilities: torch.Tensor) -> torch.Tensor:
    """Draw as `torch.multinomial` does: the most likely token after dividing by noise.

    Source: pytorch/pytorch, aten/src/ATen/native/Distributions.cpp.
    """
    noise = torch.empty_like(probabilities)
    for sampler, row in zip(samplers, noise, strict=True):
        sampler.fill_with_noise(row)
    return torch.argmax(probabilities / noise, dim=-1)
