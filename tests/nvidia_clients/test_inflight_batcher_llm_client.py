"""Calls of the engine as inflight_batcher_llm_client.py makes them.

NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/client/inflight_batcher_llm_client.py
"""

import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from launcher.server import TritonServer
from support.triton_calls import TIMEOUT_SECONDS, Array, Call, infer, names_of, stream

pytestmark = pytest.mark.server

PROMPT = [5, 6, 7, 8]
LENGTH = 16


def inputs(streaming: bool, length: int = LENGTH, **more: Any) -> dict[str, Array]:
    """What it always sends, and options."""
    tensors = {
        "input_ids": np.array([PROMPT], np.int32),
        "input_lengths": np.array([[len(PROMPT)]], np.int32),
        "request_output_len": np.array([[length]], np.int32),
        "beam_width": np.array([[1]], np.int32),
        "temperature": np.array([[1.0]], np.float32),
        "streaming": np.array([[streaming]]),
        "end_id": np.array([[-1]], np.int32),
        "pad_id": np.array([[50256]], np.int32),
        "runtime_top_k": np.array([[1]], np.int32),
        "runtime_top_p": np.array([[0.0]], np.float32),
    }
    return tensors | {name: np.array([[value]]) for name, value in more.items()}


def tokens_of(results: list[Any]) -> list[int]:
    """Return the tokens as it gathers them: those of responses without any are skipped."""
    tokens: list[int] = []
    for result in results:
        if result.as_numpy("sequence_length")[0][0] > 0:
            tokens += result.as_numpy("output_ids")[0][0].tolist()
    return tokens


@pytest.fixture(scope="module")
def expected(triton: TritonServer) -> list[int]:
    tokens = tokens_of(stream(triton, Call("tensorrt_llm", inputs(streaming=False))))
    assert len(tokens) == LENGTH
    return tokens


def test_a_stream_appends_to_the_same_tokens(triton: TritonServer, expected: list[int]) -> None:
    call = Call("tensorrt_llm", inputs(streaming=True), request_id="1")
    assert tokens_of(stream(triton, call)) == expected


def test_a_whole_reply_of_an_engine_that_is_not_decoupled(
    whole_replies: TritonServer, expected: list[int]
) -> None:
    result = infer(whole_replies, Call("tensorrt_llm", inputs(streaming=False)))
    assert tokens_of([result]) == expected


def test_such_an_engine_refuses_a_stream(whole_replies: TritonServer) -> None:
    with pytest.raises(InferenceServerException, match="streaming needs a model of the decoupled"):
        infer(whole_replies, Call("tensorrt_llm", inputs(streaming=True)))


@pytest.mark.parametrize("streaming", [False, True])
def test_the_outputs_that_come_are_those_it_requested(
    triton: TritonServer, streaming: bool
) -> None:
    outputs = ["output_ids", "sequence_length", "cum_log_probs", "output_log_probs"]
    outputs += ["num_input_tokens", "num_output_tokens", "arrival_time_ns"]
    tensors = inputs(
        streaming,
        return_log_probs=True,
        return_num_input_tokens=True,
        return_num_output_tokens=True,
        return_perf_metrics=True,
    )
    for result in stream(triton, Call("tensorrt_llm", tensors, outputs)):
        assert set(names_of(result)) == set(outputs)


def test_its_optional_values_are_taken(triton: TritonServer) -> None:
    tensors = inputs(
        False,
        num_return_sequences=np.int32(1),
        repetition_penalty=np.float32(1.1),
        presence_penalty=np.float32(0.1),
        frequency_penalty=np.float32(0.1),
        exclude_input_in_output=False,
    ) | {"decoder_input_ids": np.array([[0]], np.int32)}
    [result] = stream(triton, Call("tensorrt_llm", tensors))
    assert result.as_numpy("output_ids")[0][0][: len(PROMPT)].tolist() == PROMPT
    assert result.as_numpy("sequence_length")[0][0] == len(PROMPT) + LENGTH


def test_a_stop_request_of_dummies_ends_the_stream_of_its_id(triton: TritonServer) -> None:
    dummies = {
        "input_ids": np.zeros([1, 1], np.int32),
        "input_lengths": np.zeros([1, 1], np.int32),
        "request_output_len": np.array([[0]], np.int32),
        "stop": np.array([[True]]),
    }
    call = Call("tensorrt_llm", inputs(streaming=True, length=4000), request_id="to be stopped")
    parameters = {"Streaming": True}
    stop = Call("tensorrt_llm", dummies, request_id="to be stopped", parameters=parameters)
    received: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    with grpc.InferenceServerClient(triton.grpc_address) as client:
        client.start_stream(lambda result, error: received.put((result, error)))
        client.async_stream_infer(**call.arguments)
        results = [received.get(timeout=TIMEOUT_SECONDS)]
        client.async_stream_infer(**stop.arguments)
        client.stop_stream()
    while not received.empty():
        results.append(received.get())
    assert all(error is None for _, error in results)
    # A response without tensors, were one to come, is "a cancellation response" to this client.
    tokens = tokens_of([result for result, _ in results if names_of(result)])
    assert 1 <= len(tokens) < 4000
