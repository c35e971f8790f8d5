"""Input tensors of the `preprocessing` model to a request, and what came of it to output tensors.

Names of NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/preprocessing, and in
their manner for the values that theirs does not have. Every tensor has a leading batch dimension
of 1. Nothing here knows Triton.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.parameters import Number, sampling_parameters
from aeolus_contract.request_parameters import read_request_parameters
from aeolus_contract.steps import GUIDE
from guided_decoding.guide import Guide, GuideError, read_guide
from preprocessing.request import EngineInputs, PromptRequest
from preprocessing.words import word_list

Tensor = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


def request_from_tensors(tensors: Mapping[str, Tensor], parameters: str = "") -> PromptRequest:
    """Read a request.

    Args:
        tensors: by input name.
        parameters: the request's parameters, a JSON object.

    Raises:
        InvalidRequestError: a tensor is missing, has more than one row or value, or is not UTF-8;
            or a parameter is wrong.
    """
    for name, tensor in tensors.items():
        if tensor.ndim < 1 or tensor.shape[0] != 1:
            raise InvalidRequestError(
                f"{name} has shape {list(tensor.shape)}; send one prompt per request"
            )
    values = {
        name: _number(tensors, name.upper())
        for name in sampling_parameters()
        if name.upper() in tensors
    }
    max_tokens = _optional_int(tensors, "REQUEST_OUTPUT_LEN")
    if max_tokens is None:
        raise InvalidRequestError("max_tokens is missing; say how many new tokens are wanted")
    return PromptRequest(
        max_tokens=max_tokens,
        text_input=_text(tensors, "QUERY"),
        messages=_text(tensors, "MESSAGES"),
        input_ids=_numbers(tensors, "INPUT_IDS") if "INPUT_IDS" in tensors else None,
        max_length=_optional_int(tensors, "MAX_LENGTH"),
        stop_words=_texts(tensors, "STOP_WORDS_DICT"),
        bad_words=_texts(tensors, "BAD_WORDS_DICT"),
        bad_words_ids=_text(tensors, "BAD_WORDS_ID_LISTS"),
        embedding_bias_words=_texts(tensors, "EMBEDDING_BIAS_WORDS"),
        embedding_bias_weights=_numbers(tensors, "EMBEDDING_BIAS_WEIGHTS"),
        embedding_bias_ids=_numbers(tensors, "EMBEDDING_BIAS_IDS"),
        embedding_bias_id_weights=_numbers(tensors, "EMBEDDING_BIAS_ID_WEIGHTS"),
        end_id=_optional_int(tensors, "END_ID"),
        pad_id=_optional_int(tensors, "PAD_ID"),
        return_log_probs=bool(_optional_int(tensors, "RETURN_LOG_PROBS")),
        stream=bool(_optional_int(tensors, "STREAM")),
        sampling=values,
        guide=_guide(tensors),
        parameters=read_request_parameters(parameters),
    )


def tensors_of(inputs: EngineInputs, stream: bool) -> dict[str, Tensor]:
    """Return the outputs of a request; what the engine does not need is left out.

    A streamed request asks the engine for performance metrics: they carry the arrival time, by
    which postprocessing knows the stream.
    """
    tensors: dict[str, Tensor] = {
        "INPUT_ID": np.array([inputs.input_ids], dtype=np.int32),
        "REQUEST_INPUT_LEN": np.array([[len(inputs.input_ids)]], dtype=np.int32),
        # For encoder-decoder engines; NVIDIA's clients hand them on to whatever engine there is.
        "DECODER_INPUT_ID": np.array([[inputs.pad_id]], dtype=np.int32),
        "REQUEST_DECODER_INPUT_LEN": np.array([[1]], dtype=np.int32),
        "REQUEST_OUTPUT_LEN": np.array([[inputs.request_output_len]], dtype=np.int32),
        "OUT_END_ID": np.array([[inputs.end_id]], dtype=np.int32),
        "OUT_PAD_ID": np.array([[inputs.pad_id]], dtype=np.int32),
    }
    if inputs.stop_words:
        tensors["STOP_WORDS_IDS"] = word_list(inputs.stop_words)[np.newaxis]
    if inputs.stop_words_texts:
        texts = [text.encode() for text in inputs.stop_words_texts]
        tensors["STOP_WORDS_TEXTS"] = np.array([texts], dtype=np.object_)
    if inputs.bad_words:
        tensors["BAD_WORDS_IDS"] = word_list(inputs.bad_words)[np.newaxis]
    if inputs.embedding_bias is not None:
        tensors["EMBEDDING_BIAS"] = inputs.embedding_bias[np.newaxis]
    for name, value in inputs.sampling.items():
        row = sampling_parameters()[name]
        tensors[f"OUT_{name.upper()}"] = np.array([[value]], dtype=row.numpy_type)
    if inputs.guide is not None:
        tensors |= _guide_tensors(inputs.guide)
    if stream:
        tensors["OUT_RETURN_PERF_METRICS"] = np.array([[True]])
    return tensors


def _guide(tensors: Mapping[str, Tensor]) -> Guide | None:
    kind, text = (_text(tensors, name.upper()) for name in GUIDE)
    try:
        return read_guide(kind, text)
    except GuideError as error:
        raise InvalidRequestError(str(error)) from error


def _guide_tensors(guide: Guide) -> dict[str, Tensor]:
    kind, text = (f"OUT_{name.upper()}" for name in GUIDE)
    tensors: dict[str, Tensor] = {kind: np.array([[guide.kind.encode()]], dtype=np.object_)}
    if guide.text:
        tensors[text] = np.array([[guide.text.encode()]], dtype=np.object_)
    return tensors


def _number(tensors: Mapping[str, Tensor], name: str) -> Number:
    tensor = tensors[name]
    if tensor.size != 1:
        raise InvalidRequestError(f"{name.lower()} has {tensor.size} values; send one")
    number: Number = tensor.item()
    return number


def _numbers(tensors: Mapping[str, Tensor], name: str) -> list[Any]:
    return tensors[name].reshape(-1).tolist() if name in tensors else []


def _optional_int(tensors: Mapping[str, Tensor], name: str) -> int | None:
    return int(_number(tensors, name)) if name in tensors else None


def _text(tensors: Mapping[str, Tensor], name: str) -> str | None:
    texts = _texts(tensors, name)
    if len(texts) > 1:
        raise InvalidRequestError(f"{name.lower()} has {len(texts)} values; send one")
    return texts[0] if texts else None


def _texts(tensors: Mapping[str, Tensor], name: str) -> list[str]:
    if name not in tensors:
        return []
    try:
        return [value.decode("utf-8") for value in tensors[name].reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"{name.lower()} is not valid UTF-8: {error}") from error
