"""A generation request as the ensemble's input tensors, and its responses read back.

Tensor names: NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/ensemble; ours
beyond them are listed at the head of model_repository/ensemble/config.pbtxt.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

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
INT32_BYTES = 4


def input_tensors(request: GenerationRequest) -> list[triton.InferInput]:
    """Return the tensors of a request, each with a leading batch dimension of 1."""
    tensors = [
        _input("return_num_input_tokens", "BOOL", True),
        _input("stream", "BOOL", is_streamed(request)),
    ]
    if request.messages is not None:
        tensors.append(
            _input("messages", "BYTES", json.dumps(request.messages, ensure_ascii=False).encode())
        )
    if request.text_input is not None:
        tensors.append(_input("text_input", "BYTES", request.text_input.encode()))
    if request.input_ids is not None:
        tensors.append(_input("input_ids", "INT32", *request.input_ids))
    if request.bad_words:
        tensors.append(_input("bad_words", "BYTES", *(each.encode() for each in request.bad_words)))
    if request.bad_words_ids:
        tensors.append(_input("bad_words_ids", "BYTES", json.dumps(request.bad_words_ids).encode()))
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
        request_priority=None if request.priority is None else float(request.priority),
    ).to_wire()


def is_streamed(request: GenerationRequest) -> bool:
    """Whether the engine is asked for a stream: also where only so it can be stopped in time.

    A whole reply comes when the engine has run to its limit. A repeated prompt and several beams
    come only in whole replies.
    """
    one_beam = request.beam_width in (None, 1)
    return request.stream or bool(request.stop and request.exclude_input_in_output and one_beam)


def stop_tensors() -> list[triton.InferInput]:
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


@dataclass(frozen=True, slots=True)
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


def read_response(result: triton.InferResult) -> EnsembleResponse:
    """Read one response; an empty final one has no tensors.

    The server sends each tensor as raw bytes: reading those is several times cheaper than NumPy
    arrays of one element, and this is done for every token.
    """
    response = result.get_response()
    is_final = response.parameters["triton_final_response"].bool_param
    if not response.outputs:
        return EnsembleResponse("", "", 0, 0, is_final)
    raw = dict(
        zip((each.name for each in response.outputs), response.raw_output_contents, strict=True)
    )
    tokens = _first_integer(raw["sequence_length"])
    text = _first_text(raw["text_output"])
    log_probs = _best(result, "output_log_probs") if "output_log_probs" in raw else []
    return EnsembleResponse(
        text=text,
        pending_text=_first_text(raw["text_pending"]) if "text_pending" in raw else "",
        tokens=tokens,
        prompt_tokens=_first_integer(raw["num_input_tokens"]),
        is_final=is_final,
        stop_reason=_first_text(raw["stop_reason"]) or None if "stop_reason" in raw else None,
        finish_reason=_first_text(raw["finish_reason"]) if "finish_reason" in raw else None,
        output_ids=_best(result, "output_ids")[:tokens] if "output_ids" in raw else [],
        log_probs=log_probs,
        token_texts=[text, *[""] * (tokens - 1)][:tokens] if log_probs else [],
        top=_top(result, "output") if "output_top_texts" in raw else [],
        prompt=_prompt(result, "prompt_top_texts" in raw) if "prompt_texts" in raw else None,
        other_beams=_other_beams(result) if len(raw["sequence_length"]) > INT32_BYTES else [],
    )


def _input(name: str, dtype: Dtype, *values: object) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, len(values)], dtype)
    tensor.set_data_from_numpy(np.array([values], dtype=NUMPY_TYPES[dtype]))
    return tensor


def _first_integer(raw: bytes) -> int:
    """Read the first element of an INT32 tensor."""
    return int.from_bytes(raw[:INT32_BYTES], "little", signed=True)


def _first_text(raw: bytes) -> str:
    """Read the first element of a BYTES tensor: its length as UINT32, then itself."""
    length = int.from_bytes(raw[:4], "little")
    return raw[4 : 4 + length].decode()


def _top(result: triton.InferResult, place: str) -> list[TopTokens]:
    texts = result.as_numpy(f"{place}_top_texts")[0]
    log_probs = result.as_numpy(f"{place}_top_log_probs")[0].tolist()
    return [
        [(text.decode(), value) for text, value in zip(*position, strict=True)]
        for position in zip(texts, log_probs, strict=True)
    ]


def _prompt(result: triton.InferResult, has_top: bool) -> PromptLogProbs:
    _, *log_probs = result.as_numpy("prompt_log_probs")[0].tolist()
    _, *top = _top(result, "prompt") if has_top else [[]]
    return PromptLogProbs(
        texts=[text.decode() for text in result.as_numpy("prompt_texts")[0]],
        log_probs=[None, *log_probs],
        top=[[], *top] if has_top else [],
    )


def _other_beams(result: triton.InferResult) -> list[Beam]:
    texts, lengths = result.as_numpy("text_output"), result.as_numpy("sequence_length")
    reasons = result.as_numpy("finish_reason")
    beams = zip(
        texts.reshape(-1)[1:],
        lengths.reshape(-1)[1:],
        [None] * (lengths.size - 1) if reasons is None else reasons.reshape(-1)[1:],
        strict=True,
    )
    return [
        Beam(text.decode(), int(tokens), None if reason is None else reason.decode())
        for text, tokens, reason in beams
    ]


def _best(result: triton.InferResult, name: str) -> list[Any]:
    values: list[Any] = result.as_numpy(name)[0, 0].tolist()
    return values
