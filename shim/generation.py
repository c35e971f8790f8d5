"""From the parameters of a request to what the ensemble is asked for."""

import secrets
from dataclasses import replace
from typing import TypeVar

from catalog import ModelEntry, PredictApi
from client import GenerationRequest, Message
from shim.parameters import Parameters

T = TypeVar("T")

EARLY_STOPPING: dict[bool | str | None, int | None] = {None: None, False: 0, True: 1, "never": 2}
"""Hugging Face's value -> TensorRT-LLM's (NVIDIA/TensorRT-LLM, executor.h, SamplingConfig)."""


def generation_request(parameters: Parameters, model: ModelEntry) -> GenerationRequest:
    """Translate checked parameters; what they leave open the model's README defaults decide."""
    api = model.predict
    defaults = api.defaults
    is_streamed = parameters.is_streamed(api)
    repetition_penalty = _given(parameters.repetition_penalty, defaults.repetition_penalty)
    no_repeat_ngram_size = _given(parameters.no_repeat_ngram_size, defaults.no_repeat_ngram_size)
    return_full_text = not is_streamed and _given(parameters.return_full_text, api.return_full_text)
    request = GenerationRequest(
        text_input=parameters.prompt,
        messages=_messages(parameters, model),
        stream=is_streamed,
        max_tokens=parameters.token_limit(api),
        max_length=min(_given(parameters.max_length, api.max_length), api.max_length),
        min_tokens=parameters.min_new_tokens or None,
        repetition_penalty=None if repetition_penalty == 1 else repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size or None,
        exclude_input_in_output=not return_full_text,
        skip_special_tokens=_given(
            parameters.skip_special_tokens, is_streamed or api.skip_special_tokens
        ),
    )
    return _with_decoding(request, parameters, api)


def _with_decoding(
    request: GenerationRequest, parameters: Parameters, api: PredictApi
) -> GenerationRequest:
    """Add what makes the engine search beams, choose greedily, or sample.

    The engine has no `do_sample`: it is greedy unless told otherwise, and what is not sent takes
    values of its own, so sampling sends all that it depends on. The defaults of a beam search are
    left to preprocessing, which knows what the engine behind it can be told.
    """
    num_beams = _num_beams(parameters, api)
    if num_beams > 1:
        return replace(
            request,
            beam_width=num_beams,
            length_penalty=parameters.length_penalty,
            early_stopping=EARLY_STOPPING[parameters.early_stopping],
        )
    temperature = _given(parameters.temperature, api.defaults.temperature)
    top_p = _given(parameters.top_p, api.defaults.top_p)
    do_sample = _given(parameters.do_sample, api.defaults.do_sample)
    if not do_sample or temperature == 0 or top_p == 0:
        return replace(request, top_k=1)
    return replace(
        request,
        temperature=temperature,
        top_k=_given(parameters.top_k, api.defaults.top_k),
        top_p=top_p,
        seed=_given(parameters.seed, secrets.randbits(63)),
    )


def _num_beams(parameters: Parameters, api: PredictApi) -> int:
    """Return the beams asked for, or the default where nothing asked for contradicts it."""
    if parameters.num_beams is not None:
        return parameters.num_beams
    if parameters.do_sample or parameters.is_streamed(api):
        return 1
    return api.defaults.num_beams


def _messages(parameters: Parameters, model: ModelEntry) -> list[Message] | None:
    if parameters.messages is not None:
        return [Message(role=turn.role, content=turn.content) for turn in parameters.messages]
    if parameters.user_message is not None and model.zephyr is not None:
        system_message = _given(parameters.system_message, model.zephyr.system_message)
        return [
            Message(role="system", content=system_message),
            Message(role="user", content=parameters.user_message),
        ]
    return None


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
