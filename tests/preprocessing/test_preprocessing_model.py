"""The `preprocessing` model inside a real tritonserver."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from launcher.server import TritonServer
from preprocessing.tensors import Tensor
from support.triton_calls import infer_inputs

pytestmark = pytest.mark.server

PROMPT: dict[str, Tensor] = {
    "QUERY": np.array([[b"What is a zephyr?"]], np.object_),
    "REQUEST_OUTPUT_LEN": np.array([[5]], np.int32),
}


@pytest.fixture(scope="module")
def client(triton: TritonServer) -> Iterator[triton_grpc.InferenceServerClient]:
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        yield client


def infer(client: triton_grpc.InferenceServerClient, **tensors: Tensor) -> dict[str, Tensor]:
    result = client.infer("preprocessing", infer_inputs({**PROMPT, **tensors}))
    return {each.name: result.as_numpy(each.name) for each in result.get_response().outputs}


def test_only_what_the_request_needs_is_sent(client: triton_grpc.InferenceServerClient) -> None:
    plain = {"INPUT_ID", "REQUEST_INPUT_LEN", "REQUEST_OUTPUT_LEN", "OUT_END_ID", "OUT_PAD_ID"}
    plain |= {"DECODER_INPUT_ID", "REQUEST_DECODER_INPUT_LEN"}
    assert infer(client).keys() == plain
    streamed = infer(
        client,
        STREAM=np.array([[True]]),
        TEMPERATURE=np.array([[0.5]], np.float32),
        STOP_WORDS_DICT=np.array([[b"wind", b""]], np.object_),
    )
    assert streamed.keys() == plain | {
        "OUT_RETURN_PERF_METRICS",
        "OUT_TEMPERATURE",
        "STOP_WORDS_IDS",
        "STOP_WORDS_TEXTS",
    }


def test_a_wrong_request_fails_alone_and_says_why(
    client: triton_grpc.InferenceServerClient,
) -> None:
    def temperature(value: float) -> str:
        try:
            outputs = infer(client, TEMPERATURE=np.array([[value]], np.float32))
        except InferenceServerException as error:
            return f"{error.status()} {error.message()}"
        return str(outputs["OUT_TEMPERATURE"].item())

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(temperature, [0.5, -1.0] * 20))
    assert set(replies[::2]) == {"0.5"}
    assert set(replies[1::2]) == {
        "StatusCode.INVALID_ARGUMENT invalid request: "
        "temperature is -1; it must be 0, which is greedy, or in [1e-6, 1e6]"
    }


def test_prompts_that_arrive_together_are_answered_each_with_its_own(
    client: triton_grpc.InferenceServerClient,
) -> None:
    def tokens(number: int) -> list[int]:
        values: dict[str, Tensor] = {"QUERY": np.array([[b"wind " * number]], np.object_)}
        if number % 3 == 0:  # other inputs, other lengths
            values["BAD_WORDS_DICT"] = np.array([[b"a"] * number], np.object_)
        ids: list[int] = infer(client, **values)["INPUT_ID"][0].tolist()
        return ids

    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(tokens, range(1, 33)))
    assert together == [tokens(number) for number in range(1, 33)]


def test_two_prompts_in_one_request_are_two_rows(
    client: triton_grpc.InferenceServerClient,
) -> None:
    texts = [b"a", b"What is a zephyr?"]
    outputs = infer(
        client,
        QUERY=np.array([[text] for text in texts], np.object_),
        REQUEST_OUTPUT_LEN=np.array([[5], [6]], np.int32),
    )
    for row, text in enumerate(texts):
        alone = infer(client, QUERY=np.array([[text]], np.object_))["INPUT_ID"][0].tolist()
        assert outputs["REQUEST_INPUT_LEN"][row].tolist() == [len(alone)]
        assert outputs["INPUT_ID"][row, : len(alone)].tolist() == alone
    assert outputs["REQUEST_OUTPUT_LEN"].tolist() == [[5], [6]]
