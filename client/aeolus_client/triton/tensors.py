"""A generation request as the ensemble's input tensors, and what its responses hold.

Tensor names: NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/ensemble; ours
beyond them are listed at the head of model_repository/ensemble/config.pbtxt.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import GenerationRequest, PromptLogProbs, TopTokens
from aeolus_contract.parameters import NUMPY_TYPES, Dtype, sampling_parameters
from aeolus_contract.request_parameters import RequestParameters, WireValue
from aeolus_contract.steps import GUIDE

SCALARS: dict[str, Dtype] = {
    **{
        each.name: each.dtype
        for each in sampling_parameters().values()
        if not each.from_other_clients
    },
    **dict.fromkeys(GUIDE, "BYTES"),
    "max_tokens": "INT32",
    "max_length": "INT32",
    "exclude_input_in_output": "BOOL",
}
"""Triton's dtype of each field of GenerationRequest that is the tensor of its own name."""
KINDS: Mapping[str, tuple[type, str]] = {
    "BOOL": (bool, "true or false"),
    "BYTES": (str, "a text"),
    "FP32": (Real, "a number"),
    "INT32": (Integral, "an integer"),
    "UINT64": (Integral, "an integer"),
}
"""What a value of a tensor must be in Python, and how an error says it."""
INTEGERS: Mapping[str, Any] = {"INT32": np.iinfo(np.int32), "UINT64": np.iinfo(np.uint64)}


@dataclass(frozen=True, slots=True)
class InputTensor:
    """One tensor of a request."""

    name: str
    dtype: Dtype
    values: NDArray[np.generic]
    """Of shape [1, n]: the batch dimension is first. Texts are `bytes`."""


def input_tensors(request: GenerationRequest) -> list[InputTensor]:
    """Return the tensors of a request.

    Raises:
        InvalidRequestError: a value has another type, or is none of its tensor's type.
    """
    tensors = [
        _input("return_num_input_tokens", "BOOL", True),
        _input("stream", "BOOL", is_streamed(request)),
    ]
    if request.messages is not None:
        tensors.append(_input("messages", "BYTES", _json("messages", request.messages)))
    if request.text_input is not None:
        tensors.append(_input("text_input", "BYTES", request.text_input))
    if request.input_ids is not None:
        tensors.append(_input("input_ids", "INT32", *request.input_ids))
    if request.bad_words:
        tensors.append(_input("bad_words", "BYTES", *request.bad_words))
    if request.bad_words_ids:
        tensors.append(
            _input("bad_words_ids", "BYTES", _json("bad_words_ids", request.bad_words_ids))
        )
    if request.embedding_bias:
        tensors += [
            _input("embedding_bias_ids", "INT32", *request.embedding_bias),
            _input("embedding_bias_id_weights", "FP32", *request.embedding_bias.values()),
        ]
    if request.return_log_probs:
        tensors.append(_input("return_log_probs", "BOOL", True))
    for name, dtype in SCALARS.items():
        value = getattr(request, name)
        if value is not None:
            tensors.append(_input(name, dtype, value))
    return tensors


def request_parameters(request: GenerationRequest) -> dict[str, WireValue]:
    """Return what reaches the steps behind the engine, which no tensor does."""
    echoes = not request.exclude_input_in_output
    return RequestParameters(
        stop=tuple(request.stop or ()),
        end_ids=None if request.end_ids is None else tuple(request.end_ids),
        skip_special_tokens=request.skip_special_tokens,
        return_output_ids=request.return_output_ids,
        prompt_in_output=bool(request.stop) and echoes,
        max_tokens=None if echoes else request.max_tokens,
        split_special_tokens=request.split_special_tokens,
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=bool(request.continue_final_message),
        request_priority=_priority(request.priority),
    ).to_wire()


def is_streamed(request: GenerationRequest) -> bool:
    """Whether the engine is asked for a stream: also where only so it can be stopped in time.

    A whole reply comes when the engine has run to its limit. A repeated prompt and several beams
    come only in whole replies.
    """
    one_beam = request.beam_width in (None, 1)
    return request.stream or bool(request.stop and request.exclude_input_in_output and one_beam)


def stop_tensors() -> list[InputTensor]:
    """Return the tensors that make `tensorrt_llm` cancel the request whose id they carry.

    The backend wants its required inputs also here; their values do not matter.
    """
    return [
        _input("input_ids", "INT32", 0),
        _input("input_lengths", "INT32", 1),
        _input("request_output_len", "INT32", 1),
        _input("stop", "BOOL", True),
    ]


@dataclass(frozen=True, slots=True)
class Beam:
    """One reply of a beam search."""

    text: str
    tokens: int
    """The prompt's included where it is repeated."""
    finish_reason: str | None


@dataclass(slots=True)
class EnsembleResponse:
    """One response of the ensemble; of several beams, the best."""

    text: str
    pending_text: str
    """What the end of the stream adds to the text, if this is the last response."""
    tokens: int
    """Tokens in this response, the prompt's included where it is repeated."""
    prompt_tokens: int
    is_final: bool
    stop_reason: str | None = None
    """The stop string before which the text ended."""
    finish_reason: str | None = None
    """Why the reply ended; `None` where it has not, or the engine does not say."""
    output_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    """Of the reply's tokens: in this response, or, with some engines, all so far."""
    token_texts: list[str] = field(default_factory=list)
    """What each token with a log probability adds to the text."""
    top: list[TopTokens] = field(default_factory=list)
    """The likeliest tokens in the place of each token of this response."""
    prompt: PromptLogProbs | None = None
    other_beams: list[Beam] = field(default_factory=list)


def token_texts(text: str, tokens: int) -> list[str]:
    """Return what each token of a response adds to its text: the first all, the others nothing."""
    return [text, *[""] * (tokens - 1)][:tokens]


def _input(name: str, dtype: Dtype, *values: object) -> InputTensor:
    """Return a tensor.

    Raises:
        InvalidRequestError: a value that NumPy would turn into another, or cannot hold.
    """
    row = [_checked(name, dtype, value) for value in values]
    return InputTensor(name, dtype, np.array([row], dtype=NUMPY_TYPES[dtype]))


def _checked(name: str, dtype: Dtype, value: Any) -> Any:
    """Return a value as NumPy takes it."""
    kind, description = KINDS[dtype]
    if not isinstance(value, kind) or (isinstance(value, bool) and dtype != "BOOL"):
        raise InvalidRequestError(f"{name} is {value!r}; it must be {description}")
    if dtype in INTEGERS and not INTEGERS[dtype].min <= value <= INTEGERS[dtype].max:
        raise InvalidRequestError(f"{name} is {value}; it must fit in {dtype}")
    if not isinstance(value, str):
        return value
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{name}: {error}") from error


def _priority(value: object) -> float | None:
    return None if value is None else float(_checked("priority", "FP32", value))


def _json(name: str, value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{name}: {error}") from error
