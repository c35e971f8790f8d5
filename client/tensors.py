"""A generation request as the ensemble's input tensors, and its responses read back.

Tensor names: NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/ensemble; ours
beyond them are listed at the head of model_repository/ensemble/config.pbtxt.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

from client.generation import GenerationRequest

# Triton dtype of each field of GenerationRequest that is the tensor of its own name.
SCALARS = {
    "max_tokens": "INT32",
    "max_length": "INT32",
    "stream": "BOOL",
    "beam_width": "INT32",
    "temperature": "FP32",
    "top_k": "INT32",
    "top_p": "FP32",
    "seed": "UINT64",
    "repetition_penalty": "FP32",
    "presence_penalty": "FP32",
    "frequency_penalty": "FP32",
    "min_tokens": "INT32",
    "no_repeat_ngram_size": "INT32",
    "length_penalty": "FP32",
    "early_stopping": "INT32",
    "exclude_input_in_output": "BOOL",
}
NUMPY_TYPES = {
    "BOOL": np.bool_,
    "BYTES": np.object_,
    "FP32": np.float32,
    "INT32": np.int32,
    "UINT64": np.uint64,
}


def input_tensors(request: GenerationRequest) -> list[triton.InferInput]:
    """Return the tensors of a request, each of shape [1, 1]."""
    tensors = [_input("return_num_input_tokens", "BOOL", True)]
    if request.messages is not None:
        tensors.append(
            _input("messages", "BYTES", json.dumps(request.messages, ensure_ascii=False).encode())
        )
    if request.text_input is not None:
        tensors.append(_input("text_input", "BYTES", request.text_input.encode()))
    for name, dtype in SCALARS.items():
        value = getattr(request, name)
        if value is not None:
            tensors.append(_input(name, dtype, value))
    return tensors


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
class EnsembleResponse:
    """One response of the ensemble; of several beams, the best."""

    text: str
    pending_text: str
    """What the end of the stream adds to the text, if this is the last response."""
    tokens: int
    """Tokens in this response, the prompt's included where it is repeated."""
    prompt_tokens: int
    is_final: bool


def read_response(result: triton.InferResult) -> EnsembleResponse:
    """Read one response; an empty final one has no tensors."""
    response = result.get_response()
    is_final = response.parameters["triton_final_response"].bool_param
    if not response.outputs:
        return EnsembleResponse("", "", 0, 0, is_final)
    return EnsembleResponse(
        text=_first(result, "text_output").decode(),
        pending_text=_first(result, "text_pending").decode(),
        tokens=int(_first(result, "sequence_length")),
        prompt_tokens=int(_first(result, "num_input_tokens")),
        is_final=is_final,
    )


def _input(name: str, dtype: str, value: object) -> triton.InferInput:
    tensor = triton.InferInput(name, [1, 1], dtype)
    tensor.set_data_from_numpy(np.array([[value]], dtype=NUMPY_TYPES[dtype]))
    return tensor


def _first(result: triton.InferResult, name: str) -> Any:
    return result.as_numpy(name).reshape(-1)[0]
