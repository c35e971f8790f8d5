"""Tensors of the `tensorrt_llm` model to engine requests, and token events back to tensors.

Names, types, shapes and meanings are those of the C++ backend
(NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/utils.cc); every tensor has a leading
batch dimension of 1. Nothing here knows Triton or torch.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from aeolus_contract.parameters import NUMPY_TYPES, engine_parameters
from aeolus_contract.steps import GUIDE, PERF_METRICS
from engine_step.interface import (
    BeamLogProbs,
    EngineRequest,
    PerfMetrics,
    PromptLogProbs,
    RequestRefusedError,
    SamplingConfig,
    TokenEvent,
    TopTokens,
)
from guided_decoding.guide import Guide, GuideError, read_guide

Tensor = np.ndarray[tuple[int, ...], np.dtype[np.generic]]
Tensors = Mapping[str, Tensor]

COUNTS = ("num_input_tokens", "num_output_tokens")
PADDING = -1  # behind beams that are shorter than the longest


def wants_stop(tensors: Tensors) -> bool:
    """Say whether the request is an order to cancel the running request of the same id."""
    return _flag(tensors, "stop")


def request_from_tensors(
    tensors: Tensors, request_id: str, *, exclude_input_in_output: bool = True
) -> EngineRequest:
    """Build an engine request.

    Args:
        tensors: by input name. `input_ids` INT32 [1, n] is the whole prompt; like the C++ backend
            this does not look at `input_lengths` when there is one prompt.
        request_id: Triton's request id; may be empty.
        exclude_input_in_output: what holds when the tensor of that name is absent.

    Raises:
        RequestRefusedError: a tensor is missing, has the wrong shape, or is not a word list.
    """
    input_ids = _prompt(tensors)
    _check_num_return_sequences(tensors)
    return EngineRequest(
        request_id=request_id,
        input_ids=input_ids,
        request_output_len=_required_integer(tensors, "request_output_len"),
        end_id=_integer(tensors, "end_id", -1),
        pad_id=_integer(tensors, "pad_id", 0),
        stop_words=_words(tensors, "stop_words_list"),
        bad_words=_words(tensors, "bad_words_list"),
        embedding_bias=_bias(tensors),
        sampling=_sampling(tensors),
        return_log_probs=_flag(tensors, "return_log_probs"),
        return_perf_metrics=_flag(tensors, "return_perf_metrics"),
        streaming=_flag(tensors, "streaming"),
        exclude_input_in_output=_flag(tensors, "exclude_input_in_output", exclude_input_in_output),
        guide=_guide(tensors),
    )


def counts_asked(tensors: Tensors) -> frozenset[str]:
    """Return which of `COUNTS` the request wants in every response (`return_<name>`)."""
    return frozenset(name for name in COUNTS if _flag(tensors, f"return_{name}"))


def tensors_from_event(
    event: TokenEvent, request: EngineRequest, counts: Collection[str] = ()
) -> dict[str, Tensor]:
    """Build the outputs of one response from an event without error.

    Returns:
        `output_ids` INT32 [1, beams, longest], `sequence_length` INT32 [1, beams], the `counts`
        asked for, INT32 [1, 1], at the end `finish_reason` STRING [1, beams], and with
        log-probabilities in the event `cum_log_probs` FP32 [1, beams] and `output_log_probs` FP32
        [1, beams, longest generated]. `num_output_tokens` counts this response over all beams.
        With the likeliest tokens in the event `output_top_ids` INT32 and `output_top_log_probs`
        FP32 [1, tokens, of each]; with the prompt's log-probabilities `prompt_ids` INT32 and
        `prompt_log_probs` FP32 [1, tokens], and of the likeliest tokens in their places the same
        two as of the output.
    """
    beams = event.output_ids
    lengths = [len(tokens) for tokens in beams]
    outputs: dict[str, Tensor] = {
        "output_ids": _padded(beams, np.int32),
        "sequence_length": np.array([lengths], dtype=np.int32),
    }
    numbers = {"num_input_tokens": len(request.input_ids), "num_output_tokens": sum(lengths)}
    for name in counts:
        outputs[name] = np.array([[numbers[name]]], dtype=np.int32)
    if event.finish_reasons is not None:
        reasons = [reason.encode() for reason in event.finish_reasons]
        outputs["finish_reason"] = np.array([reasons], dtype=np.object_)
    if event.log_probs is not None:
        outputs |= _log_prob_tensors(event.log_probs)
    if event.top is not None and event.top.ids:
        outputs |= _top_tensors("output", event.top)
    if event.prompt is not None:
        outputs |= _prompt_tensors(event.prompt)
    return outputs


def tensors_from_perf_metrics(
    metrics: PerfMetrics, requested: Collection[str]
) -> dict[str, Tensor]:
    """Build those of the outputs that `return_perf_metrics` adds, each of shape [1, 1].

    Times INT64 and counts INT32 as in `PerfMetrics`; draft tokens are 0, for there is no drafting.
    """
    return {
        each.name: np.array([[getattr(metrics, each.name, 0)]], dtype=NUMPY_TYPES[each.dtype])
        for each in PERF_METRICS
        if each.name in requested
    }


def _padded(rows: Sequence[Sequence[float]], dtype: type[np.generic]) -> Tensor:
    padded = np.full((1, len(rows), max(map(len, rows))), PADDING, dtype=dtype)
    for i, row in enumerate(rows):
        padded[0, i, : len(row)] = row
    return padded


def _log_prob_tensors(beams: list[BeamLogProbs]) -> dict[str, Tensor]:
    return {
        "cum_log_probs": np.array([[beam.cumulative for beam in beams]], dtype=np.float32),
        "output_log_probs": _padded([beam.tokens for beam in beams], np.float32),
    }


def _prompt_tensors(prompt: PromptLogProbs) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {
        "prompt_ids": np.array([prompt.token_ids], dtype=np.int32),
        "prompt_log_probs": np.array([prompt.log_probs], dtype=np.float32),
    }
    return tensors if prompt.top is None else tensors | _top_tensors("prompt", prompt.top)


def _top_tensors(name: str, top: TopTokens) -> dict[str, Tensor]:
    return {
        f"{name}_top_ids": np.array([top.ids], dtype=np.int32),
        f"{name}_top_log_probs": np.array([top.log_probs], dtype=np.float32),
    }


def _prompt(tensors: Tensors) -> list[int]:
    input_ids = tensors.get("input_ids")
    if input_ids is None:
        raise RequestRefusedError("input_ids is missing; send INT32 [1, number of tokens]")
    if input_ids.ndim != 2 or input_ids.shape[0] != 1:
        raise RequestRefusedError(
            f"input_ids has shape {list(input_ids.shape)}; send one prompt per request,"
            " as [1, number of tokens]"
        )
    tokens: list[int] = input_ids[0].tolist()
    return tokens


def _sampling(tensors: Tensors) -> SamplingConfig:
    values: dict[str, Any] = {}
    if "min_length" in tensors:  # its older name
        values["min_tokens"] = _integer(tensors, "min_length")
    for row, engine in engine_parameters():
        if engine.tensor in tensors:
            read = _number if row.dtype == "FP32" else _integer
            values[engine.field] = read(tensors, engine.tensor)
    if values.get("temperature") == 0:
        values |= _at_temperature_zero(values)
    return SamplingConfig(**values)


def _at_temperature_zero(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the C++ backend puts in its place: greedy, or after top-p alone a plain draw.

    Source: NVIDIA/TensorRT-LLM, cpp/include/tensorrt_llm/runtime/samplingConfig.h.
    """
    is_drawn = "top_k" not in values and values.get("top_p", 0) > 0
    return {"temperature": 1.0} | ({"top_p": 1.0} if is_drawn else {"top_k": 1})


def _guide(tensors: Tensors) -> Guide | None:
    kind, text = (_text(tensors, name) for name in GUIDE)
    try:
        return read_guide(kind, text)
    except GuideError as error:
        raise RequestRefusedError(str(error)) from error


def _bias(tensors: Tensors) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
    """Read FP32 [1, n]; a copy, for the tensor's memory is the server's."""
    tensor = tensors.get("embedding_bias")
    if tensor is None or tensor.size == 0:
        return None
    if tensor.ndim != 2 or tensor.shape[0] != 1:
        raise RequestRefusedError(
            f"embedding_bias has shape {list(tensor.shape)}; send [1, vocabulary size]"
        )
    return np.array(tensor[0], dtype=np.float32)


def _check_num_return_sequences(tensors: Tensors) -> None:
    count = _integer(tensors, "num_return_sequences", 1)
    if count != 1:
        raise RequestRefusedError(
            f"num_return_sequences is {count}; the engine returns one sequence per request:"
            " send as many requests, each with a seed of its own"
        )


def _words(tensors: Tensors, name: str) -> list[list[int]]:
    """Read a word list INT32 [1, 2, n]: all words' ids in a row, then where each word ends.

    The ends are padded with -1: the words [5, 6] and [9] are [[[5, 6, 9], [2, 3, -1]]].
    """
    tensor = tensors.get(name)
    if tensor is None:
        return []
    if tensor.ndim != 3 or tensor.shape[:2] != (1, 2):
        raise RequestRefusedError(f"{name} has shape {list(tensor.shape)}; it must be [1, 2, n]")
    ids: list[int] = tensor[0, 0].tolist()
    ends: list[int] = tensor[0, 1].tolist()
    num_words = ends.index(-1) if -1 in ends else len(ends)
    if any(end != -1 for end in ends[num_words:]):
        raise RequestRefusedError(f"{name} must not have an offset after the first -1: {ends}")
    words, begin = [], 0
    for end in ends[:num_words]:
        if end <= begin:
            raise RequestRefusedError(
                f"{name} must have strictly increasing offsets greater than 0: {ends}"
            )
        if end > len(ids):
            raise RequestRefusedError(
                f"{name} must not have an offset beyond its {len(ids)} token ids: {ends}"
            )
        words.append(ids[begin:end])
        begin = end
    return words


def _required_integer(tensors: Tensors, name: str) -> int:
    if name not in tensors:
        raise RequestRefusedError(f"{name} is missing; send INT32 [1, 1]")
    return _integer(tensors, name)


def _integer(tensors: Tensors, name: str, default: int = 0) -> int:
    return int(_scalar(tensors[name], name)) if name in tensors else default


def _text(tensors: Tensors, name: str) -> str | None:
    if name not in tensors:
        return None
    content: bytes = _scalar(tensors[name], name)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise RequestRefusedError(f"{name} is not valid UTF-8: {error}") from error


def _flag(tensors: Tensors, name: str, default: bool = False) -> bool:
    return bool(_scalar(tensors[name], name)) if name in tensors else default


def _number(tensors: Tensors, name: str) -> float:
    # Through the shortest decimal that names the float32, so that 0.9 stays 0.9 and does not
    # become 0.8999999761581421: the number a client had that never left double precision.
    return float(str(_scalar(tensors[name], name)))


def _scalar(tensor: Tensor, name: str) -> Any:
    if tensor.size != 1:
        raise RequestRefusedError(
            f"Invalid size for tensor {name}: it has shape {list(tensor.shape)},"
            " but must hold one value"
        )
    return tensor.reshape(-1)[0]
