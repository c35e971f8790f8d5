"""Everything a request may get wrong, checked before it is queued."""

import math
from dataclasses import dataclass

import numpy as np

from engine_step.interface import EngineRequest, RequestRefusedError, SamplingConfig

FINITE = (
    "temperature",
    "top_p",
    "len_penalty",
    "presence_penalty",
    "frequency_penalty",
    "beam_search_diversity_rate",
)


NOT_NEGATIVE = (
    "temperature",
    "top_k",
    "min_tokens",
    "no_repeat_ngram_size",
    "len_penalty",
    "top_logprobs",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine can serve."""

    vocab_size: int
    max_seq_len: int
    max_beam_width: int


def validate(request: EngineRequest, limits: Limits) -> None:
    """Check `request` against `limits` and the ranges of the C++ backend.

    Raises:
        RequestRefusedError: with what is wrong and what to send instead.
    """
    _check_prompt(request, limits)
    _check_words(request, limits)
    if request.request_output_len <= 0:
        _refuse("request_output_len", request.request_output_len, "must be greater than 0")
    if not -1 <= request.end_id < limits.vocab_size:
        _refuse("end_id", request.end_id, f"must be in [-1, {limits.vocab_size}); -1 means none")
    if not 0 <= request.priority <= 1:
        _refuse("priority", request.priority, "must be from 0 to 1")
    if request.guide is not None:
        _check_guided(request)
    _check_bias(request, limits)
    _check_sampling(request.sampling, limits)


def _check_guided(request: EngineRequest) -> None:
    if request.sampling.beam_width > 1:
        raise RequestRefusedError(
            f"beam_width is {request.sampling.beam_width}, but a guided reply has one beam: "
            "TensorRT-LLM follows its grammar along one sequence"
        )
    if request.end_id < 0:
        raise RequestRefusedError("a guided reply needs an end id, by which it ends")


def _check_bias(request: EngineRequest, limits: Limits) -> None:
    bias = request.embedding_bias
    if bias is None:
        return
    if len(bias) > limits.vocab_size:
        raise RequestRefusedError(
            f"embedding_bias has {len(bias)} entries; send at most one for each of the"
            f" {limits.vocab_size} tokens of the vocabulary"
        )
    if not (bias < np.inf).all():
        raise RequestRefusedError(
            "embedding_bias holds NaN or +inf; send numbers, or -inf to ban a token"
        )


def _check_prompt(request: EngineRequest, limits: Limits) -> None:
    length, longest = len(request.input_ids), limits.max_seq_len - 1
    if length == 0:
        raise RequestRefusedError("input_ids is empty; send a prompt of at least one token")
    if length > longest:
        raise RequestRefusedError(
            f"Prompt length ({length}) exceeds maximum input length ({longest});"
            " send a shorter prompt"
        )
    _check_ids("input_ids", request.input_ids, limits)


def _check_words(request: EngineRequest, limits: Limits) -> None:
    for name, words in (("stop_words", request.stop_words), ("bad_words", request.bad_words)):
        for word in words:
            if not word:
                raise RequestRefusedError(f"{name} holds a word without tokens; leave it out")
            _check_ids(name, word, limits)


def _check_ids(name: str, ids: list[int], limits: Limits) -> None:
    if min(ids) < 0 or max(ids) >= limits.vocab_size:
        wrong = next(token for token in ids if not 0 <= token < limits.vocab_size)
        raise RequestRefusedError(
            f"{name} holds token id {wrong}, outside the model's vocabulary"
            f" [0, {limits.vocab_size}); use the tokenizer of the served checkpoint"
        )


def _check_sampling(sampling: SamplingConfig, limits: Limits) -> None:
    if not 1 <= sampling.beam_width <= limits.max_beam_width:
        _refuse(
            "beam_width",
            sampling.beam_width,
            f"must be in [1, {limits.max_beam_width}], the engine's max_beam_width",
        )
    for name in FINITE:
        if not math.isfinite(getattr(sampling, name)):
            _refuse(name, getattr(sampling, name), "must be a finite number")
    for name in NOT_NEGATIVE:
        if getattr(sampling, name) < 0:
            _refuse(name, getattr(sampling, name), "must not be negative")
    if sampling.top_logprobs and sampling.beam_width > 1:
        _refuse("top_logprobs", sampling.top_logprobs, "must be 0 where beam_width is more than 1")
    if sampling.top_p > 1:
        _refuse("top_p", sampling.top_p, "must not be greater than 1")
    if not 0 <= sampling.min_p <= 1:
        _refuse("min_p", sampling.min_p, "must be in [0, 1]")
    for name in ("top_p_decay", "top_p_min"):
        if not 0 < getattr(sampling, name) <= 1:
            _refuse(name, getattr(sampling, name), "must be greater than 0 and at most 1")
    reset_id = sampling.top_p_reset_id
    if reset_id is not None and not 0 <= reset_id < limits.vocab_size:
        _refuse("top_p_reset_id", reset_id, f"must be in [0, {limits.vocab_size})")
    if not 0 < sampling.repetition_penalty < math.inf:
        _refuse("repetition_penalty", sampling.repetition_penalty, "must be greater than 0")
    if sampling.early_stopping not in (0, 1, 2):
        _refuse("early_stopping", sampling.early_stopping, "must be 0, 1 or 2")
    if sampling.seed is not None and not 0 <= sampling.seed < 2**64:
        _refuse("seed", sampling.seed, "must be in [0, 2^64)")


def _refuse(name: str, value: float, rule: str) -> None:
    raise RequestRefusedError(f"{name} is {value}; it {rule}")
