"""Engine requests in the executor's terms."""

import secrets
from typing import Any

import numpy as np

from aeolus_contract.parameters import engine_parameters
from aeolus_contract.request_parameters import DEFAULT_PRIORITY
from engine_step.interface import EngineRequest, RequestRefusedError, SamplingConfig
from guided_decoding.guide import Guide

NOT_OF_SAMPLING = ("seed", "prompt_logprobs", "top_logprobs")
"""What is not an argument like the others: drawn where absent, or no value of the executor's."""
SAMPLING_ARGUMENTS = {
    engine.field: row.name for row, engine in engine_parameters() if row.name not in NOT_OF_SAMPLING
}
"""Field of our SamplingConfig to argument of the executor's, which has the ensemble's name.

A value that is the default of both is not sent: the executor then leaves out the kernels that
would do nothing.
"""
DEFAULTS = SamplingConfig()
CHANGE_LOGITS = (
    *("repetition_penalty", "presence_penalty", "frequency_penalty"),
    *("min_tokens", "no_repeat_ngram_size"),
)
"""Fields by which a token's logits are others than the model's, temperature aside."""


def executor_request(bindings: Any, request: EngineRequest, client_id: int, vocab_size: int) -> Any:
    """Return a `Request`.

    It streams inside wherever there is one beam: a cancelled request has lost its tokens in the
    executor, and what it had is ours to tell.

    Args:
        bindings: `tensorrt_llm.bindings.executor`.
        request: checked by `engine_step.validation`.
        client_id: comes back with every response.
        vocab_size: the length that the executor expects of a bias.

    Raises:
        RuntimeError: the executor's own checks refuse a value.
    """
    optional: dict[str, Any] = {}
    if request.end_id >= 0:
        optional["end_id"] = request.end_id
    if request.stop_words:
        optional["stop_words"] = request.stop_words
    if request.bad_words:
        optional["bad_words"] = request.bad_words
    if request.embedding_bias is not None:
        optional["embedding_bias"] = _bias(request.embedding_bias, vocab_size)
    if request.guide is not None:
        optional["guided_decoding_params"] = _guided_decoding_params(bindings, request.guide)
    if request.priority != DEFAULT_PRIORITY:
        optional["priority"] = request.priority
    scores_prompt = request.sampling.prompt_logprobs >= 0
    if scores_prompt:
        # Of what is reused of another prompt's cache there are no logits: a salt of its own.
        optional["cache_salt_id"] = secrets.randbits(64)
    return bindings.Request(
        input_token_ids=request.input_ids,
        max_tokens=request.request_output_len,
        streaming=request.streaming or request.sampling.beam_width == 1,
        sampling_config=sampling_config(bindings, request.sampling),
        output_config=bindings.OutputConfig(
            return_log_probs=request.return_log_probs,
            exclude_input_from_output=True,
            return_perf_metrics=request.return_perf_metrics,
            return_context_logits=scores_prompt,
        ),
        pad_id=request.pad_id,
        client_id=client_id,
        **optional,
    )


def refuse_what_it_cannot(request: EngineRequest, *, gathers_context_logits: bool) -> None:
    """Check that nothing is asked for that the executor's results do not have.

    Args:
        request: checked by `engine_step.validation`.
        gathers_context_logits: whether the engine was built so.

    Raises:
        RequestRefusedError: it is.
    """
    sampling = request.sampling
    if sampling.prompt_logprobs >= 0 and not gathers_context_logits:
        raise RequestRefusedError(
            f"prompt_logprobs is {sampling.prompt_logprobs}, but this engine was built without "
            "the logits of prompts; build it with --gather-context-logits"
        )
    if sampling.top_logprobs and not _follows_a_scored_prompt(request):
        raise RequestRefusedError(
            f"top_logprobs is {sampling.top_logprobs}, but TensorRT-LLM returns log probabilities "
            "of the tokens that it chose only; of one token after a prompt whose own are asked "
            "for, without penalties, others are known"
        )


def _follows_a_scored_prompt(request: EngineRequest) -> bool:
    """Whether the reply is one token, drawn from the prompt's last logits as they are."""
    sampling = request.sampling
    return (
        sampling.prompt_logprobs >= 0
        and request.request_output_len == 1
        and request.embedding_bias is None
        and not request.bad_words
        and request.guide is None
        and all(getattr(sampling, name) == getattr(DEFAULTS, name) for name in CHANGE_LOGITS)
    )


def sampling_config(bindings: Any, sampling: SamplingConfig) -> Any:
    """Return the executor's `SamplingConfig`; a seed is drawn where none is given.

    Without one the executor would start from the same number in every process.
    """
    arguments = {
        argument: getattr(sampling, field)
        for field, argument in SAMPLING_ARGUMENTS.items()
        if getattr(sampling, field) != getattr(DEFAULTS, field)
    }
    seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
    return bindings.SamplingConfig(**arguments, seed=seed)


def _guided_decoding_params(bindings: Any, guide: Guide) -> Any:
    kind = getattr(bindings.GuidedDecodingParams.GuideType, guide.kind.upper())
    return bindings.GuidedDecodingParams(guide_type=kind, guide=guide.text or None)


def _bias(bias: np.ndarray[tuple[int], np.dtype[np.float32]], vocab_size: int) -> Any:
    """Return a tensor float32 [vocab_size]."""
    import torch  # only what asks for a bias needs it

    whole = np.zeros(vocab_size, dtype=np.float32)
    whole[: len(bias)] = bias
    return torch.from_numpy(whole)
