"""Calls as NVIDIA's benchmarks make them: benchmark_core_model.py and genai-perf.

NVIDIA/TensorRT-LLM, triton_backend/tools/inflight_batcher_llm/benchmark_core_model.py;
triton-inference-server/perf_analyzer, genai-perf
"""

from typing import Any

import numpy as np
import pytest

from launcher.server import TritonServer
from support.triton_calls import Array, Call, infer, names_of, stream

pytestmark = pytest.mark.server

LENGTH = 24


def engine_inputs(**more: Any) -> dict[str, Array]:
    tensors: dict[str, Array] = {
        "input_ids": np.array([[5, 6, 7, 8]], np.int32),
        "input_lengths": np.array([[4]], np.int32),
        "request_output_len": np.array([[LENGTH]], np.int32),
    }
    return tensors | {name: np.array([[value]]) for name, value in more.items()}


def ensemble_inputs(**more: Any) -> dict[str, Array]:
    tensors: dict[str, Array] = {
        "text_input": np.array([["What is a zephyr?"]], np.object_),
        "max_tokens": np.array([[LENGTH]], np.int32),
        "exclude_input_in_output": np.array([[True]]),
    }
    return tensors | {name: np.array([[value]]) for name, value in more.items()}


def test_benchmark_core_model_reads_the_length_off_the_first_output(
    whole_replies: TritonServer,
) -> None:
    tensors = engine_inputs(end_id=np.int32(-1), pad_id=np.int32(0))
    result = infer(whole_replies, Call("tensorrt_llm", tensors))
    assert names_of(result)[0] == "output_ids"
    assert result.get_response().outputs[0].shape[2] == LENGTH


@pytest.mark.parametrize("streaming", [False, True])
def test_genai_perf_finds_text_in_every_response(triton: TritonServer, streaming: bool) -> None:
    more = {"stream": True} if streaming else {}
    results = stream(triton, Call("ensemble", ensemble_inputs(**more)))
    assert (len(results) > 1) == streaming
    for result in results:
        assert result.as_numpy("text_output").size == 1


def test_genai_perf_sets_the_length_with_min_length(triton: TritonServer) -> None:
    tensors = ensemble_inputs(stream=True, min_length=np.int32(LENGTH))
    results = stream(triton, Call("ensemble", tensors))
    assert sum(int(each.as_numpy("sequence_length").sum()) for each in results) == LENGTH


def test_genai_perf_sets_the_length_of_the_engine_with_min_length(triton: TritonServer) -> None:
    tensors = engine_inputs(streaming=True, min_length=np.int32(LENGTH), end_id=np.int32(0))
    results = stream(triton, Call("tensorrt_llm", tensors))
    assert sum(each.as_numpy("output_ids").size for each in results) == LENGTH
