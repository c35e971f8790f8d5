"""Several prompts in one request, as end_to_end_grpc_client.py --batch-inputs sends them.

Source: NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/client/end_to_end_grpc_client.py.
"""

import queue
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException

from launcher.server import TritonServer
from support.metrics import steps, wait_for_active_requests
from support.triton_calls import Array, Call, infer_inputs, names_of, stream

pytestmark = pytest.mark.server

PROMPTS = ["What is a zephyr?", "The wind", "Naïve 東京, and a far longer prompt than the others"]
LENGTH = 24


def request(prompts: list[str], **values: Any) -> Call:
    """A request as that client makes it: every input has a row for each prompt."""
    size = len(prompts)
    tensors: dict[str, Array] = {
        "text_input": np.array([[prompt.encode()] for prompt in prompts], np.object_),
        "max_tokens": np.full((size, 1), LENGTH, np.int32),
        "stream": np.full((size, 1), False),
        "exclude_input_in_output": np.full((size, 1), True),
    }
    return Call("ensemble", {**tensors, **values}, request_id=f"batch of {size}")


def texts_of(results: list[Any]) -> dict[int, str]:
    """Return the joined texts by `batch_index`; without one it is a lone prompt's, 0."""
    texts: dict[int, str] = defaultdict(str)
    for result in results:
        index = result.as_numpy("batch_index")
        row = 0 if index is None else int(index.item())
        texts[row] += result.as_numpy("text_output")[0].decode()
    return dict(texts)


def alone(triton: TritonServer, prompt: str, **values: Any) -> str:
    results = stream(triton, request([prompt], **values))
    assert all("batch_index" not in names_of(result) for result in results)
    return texts_of(results)[0]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_each_prompt_is_answered_as_alone(triton: TritonServer, is_streamed: bool) -> None:
    many = np.full((len(PROMPTS), 1), is_streamed)
    results = stream(triton, request(PROMPTS, stream=many))
    assert is_streamed or len(results) == len(PROMPTS)
    assert texts_of(results) == {row: alone(triton, prompt) for row, prompt in enumerate(PROMPTS)}
    last = [result for result in results if result.as_numpy("finish_reason") is not None]
    assert {int(result.as_numpy("batch_index").item()) for result in last} == {0, 1, 2}
    is_final = [
        result.get_response().parameters["triton_final_response"].bool_param for result in results
    ]
    assert is_final == [False] * (len(results) - 1) + [True]
    wait_for_active_requests(triton, 0)


def test_each_prompt_has_words_and_limits_of_its_own(triton: TritonServer) -> None:
    words = [[b"breeze", b"never said"], [b"", b""], [b"the", b""]]
    limits = [LENGTH, 3, LENGTH]
    texts = texts_of(
        stream(
            triton,
            request(
                PROMPTS,
                stop_words=np.array(words, np.object_),
                max_tokens=np.array([[limit] for limit in limits], np.int32),
            ),
        )
    )
    for row, prompt in enumerate(PROMPTS):
        assert texts[row] == alone(
            triton,
            prompt,
            stop_words=np.array([words[row]], np.object_),
            max_tokens=np.array([[limits[row]]], np.int32),
        )


def test_a_wrong_prompt_refuses_them_all_before_the_engine(triton: TritonServer) -> None:
    limits = np.array([[5], [-1], [5]], np.int32)
    wait_for_active_requests(triton, 0)
    before = steps(triton)
    with pytest.raises(InferenceServerException, match="invalid request: max_tokens is -1"):
        stream(triton, request(PROMPTS, max_tokens=limits))
    wait_for_active_requests(triton, 0)
    assert steps(triton) == before


def test_values_that_mean_different_things_are_refused(triton: TritonServer) -> None:
    temperatures = np.array([[0.5], [0.0], [0.5]], np.float32)
    with pytest.raises(InferenceServerException, match="requests of their own"):
        stream(triton, request(PROMPTS, temperature=temperatures))


def test_a_stop_ends_every_prompt(triton: TritonServer) -> None:
    one = np.array([[1]], np.int32)
    order = dict.fromkeys(("input_ids", "input_lengths", "request_output_len"), one)
    many = np.full((3, 1), True)
    call = request(
        PROMPTS,
        stream=many,
        max_tokens=np.full((3, 1), 3000, np.int32),
        min_tokens=np.full((3, 1), 3000, np.int32),
    )
    received: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with grpc.InferenceServerClient(triton.grpc_address) as client:
        client.start_stream(lambda result, error: received.put(result or error))
        client.async_stream_infer(
            "ensemble",
            infer_inputs(call.tensors),
            request_id=call.request_id,
            enable_empty_final_response=True,
        )
        received.get(timeout=60)
        stream(
            triton,
            Call("tensorrt_llm", {**order, "stop": np.array([[True]])}, request_id=call.request_id),
        )
        client.stop_stream()
    reasons: list[bytes] = []
    while not received.empty():
        reason = received.get().as_numpy("finish_reason")
        reasons += [] if reason is None else reason.tolist()
    assert reasons == [b"cancelled"] * 3
    wait_for_active_requests(triton, 0)
