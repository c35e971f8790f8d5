"""However a stream ends, postprocessing keeps nothing of it, and the client learns why."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import grpc
import numpy as np
import pytest
from transformers import AutoTokenizer
from tritonclient.grpc import service_pb2

from aeolus_client import (
    GenerationFailedError,
    GenerationRequest,
    InvalidRequestError,
    TextChunk,
    TritonClient,
)
from build_engines.tensorrt_llm.assemble import COMMITTED
from demo.export import CHECKPOINT
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.asking import QUESTION
from support.metrics import active_requests, metric
from support.triton_calls import Array, Call, infer, infer_inputs, stream

pytestmark = pytest.mark.server

SECONDS = 60.0
LONG_REPLY = 600
REPLY = 64
"""More tokens than the answer to the question has."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of its own: what other tests leave without an end would be counted."""
    with running_triton(COMMITTED.path, tmp_path_factory.mktemp("ends")) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_stays(server: TritonServer) -> Iterator[None]:
    yield
    deadline = time.monotonic() + SECONDS
    while streams := metric(server.metrics_url, "aeolus_postprocessing_streams"):
        assert time.monotonic() < deadline, f"{streams} streams are still there"
        time.sleep(0.05)


def read(server: TritonServer, chunks: int | None = None, **values: Any) -> list[TextChunk]:
    """Stream the reply to the question with our client, or only its first `chunks`."""

    async def run() -> list[TextChunk]:
        client = TritonClient(server.grpc_address)
        request = GenerationRequest(
            **{"messages": QUESTION, "max_tokens": REPLY, "stream": True, **values}
        )
        received: list[TextChunk] = []
        try:
            async with aclosing(client.stream(request)) as replies:
                async for chunk in replies:
                    received.append(chunk)
                    if len(received) == chunks:
                        break
        finally:
            await client.close()
        return received

    return asyncio.run(run())


def ask_as_nvidias_clients(server: TritonServer, length: int = REPLY, **values: Array) -> list[Any]:
    """Stream it with a client that sends no request parameters."""
    tensors: dict[str, Array] = {
        "messages": np.array([[json.dumps(QUESTION).encode()]], np.object_),
        "max_tokens": np.array([[length]], np.int32),
        "stream": np.array([[True]]),
    }
    return stream(server, Call("ensemble", {**tensors, **values}, request_id="nvidia"))


def text_of(responses: list[Any]) -> str:
    return "".join(each.as_numpy("text_output")[0].decode() for each in responses)


def finish_reason(responses: list[Any]) -> str:
    (reason,) = responses[-1].as_numpy("finish_reason").reshape(-1)
    assert all(each.as_numpy("finish_reason") is None for each in responses[:-1])
    return str(reason.decode())


def test_an_end_id(server: TritonServer) -> None:
    assert read(server)[-1].finish_reason == "stop"
    assert finish_reason(ask_as_nvidias_clients(server)) == "stop"


def test_the_limit(server: TritonServer) -> None:
    assert read(server, max_tokens=4)[-1].finish_reason == "length"
    responses = ask_as_nvidias_clients(server, 4)
    assert finish_reason(responses) == "length"
    assert all(each.as_numpy("text_pending") is None for each in responses[-1:])


def test_an_end_id_exactly_at_the_limit_is_a_stop(server: TritonServer) -> None:
    ids = [token for chunk in read(server, return_output_ids=True) for token in chunk.output_ids]
    place = next(i for i, token in enumerate(ids) if i > 2 and token not in ids[:i])
    last = read(server, max_tokens=place + 1, end_ids=[0, ids[place]])[-1]
    assert (last.finish_reason, last.completion_tokens) == ("stop", place + 1)
    last = read(server, max_tokens=place + 1, end_ids=[0])[-1]
    assert (last.finish_reason, last.completion_tokens) == ("length", place + 1)


def test_a_stop_string_of_our_client(server: TritonServer) -> None:
    assert read(server, stop=["ep", "re"])[-1].finish_reason == "stop"


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("word", ["gentle", " gentle", "entle, mild bre", "breeze,"])
def test_a_stop_word_of_nvidias_clients(server: TritonServer, word: str, is_streamed: bool) -> None:
    plain = text_of(ask_as_nvidias_clients(server))
    responses = ask_as_nvidias_clients(
        server,
        stop_words=np.array([[b"never said", word.encode()]], np.object_),
        stream=np.array([[is_streamed]]),
    )
    assert text_of(responses) == plain[: plain.index(word) + len(word)]
    assert finish_reason(responses) == "stop"


def test_a_stop_word_is_not_looked_for_in_the_prompt(server: TritonServer) -> None:
    words: dict[str, Any] = {"stop_words": np.array([[b"zephyr"]], np.object_)}
    echo: dict[str, Any] = {
        "stream": np.array([[False]]),
        "exclude_input_in_output": np.array([[False]]),
    }
    reply = text_of(ask_as_nvidias_clients(server, **words))
    assert reply.endswith("zephyr")
    whole = text_of(ask_as_nvidias_clients(server, **words, **echo))
    assert whole.endswith(reply)
    assert whole.count("zephyr") == 2


def test_a_client_that_leaves(server: TritonServer) -> None:
    assert len(read(server, chunks=2, max_tokens=2000, min_tokens=2000)) == 2


def test_an_order_to_stop_from_someone_else(server: TritonServer) -> None:
    one = np.array([[1]], np.int32)
    names = ("input_ids", "input_lengths", "request_output_len")
    order: dict[str, Array] = {**dict.fromkeys(names, one), "stop": np.array([[True]])}

    async def run() -> None:
        client = TritonClient(server.grpc_address)
        request = GenerationRequest(
            messages=QUESTION, max_tokens=3000, min_tokens=3000, stream=True, request_id="stopped"
        )
        try:
            async with aclosing(client.stream(request)) as chunks:
                await anext(chunks)
                call = Call("tensorrt_llm", order, request_id="stopped")
                await asyncio.to_thread(stream, server, call)
                async for _ in chunks:
                    pass
        finally:
            await client.close()

    with pytest.raises(GenerationFailedError, match="was told to stop before the reply"):
        asyncio.run(run())


def test_an_error_in_its_midst(server: TritonServer) -> None:
    vocabulary = len(AutoTokenizer.from_pretrained(CHECKPOINT))
    banned = [[token] for token in range(vocabulary - 2)]
    with pytest.raises(InvalidRequestError, match="no token can be chosen"):
        read(server, bad_words_ids=banned, no_repeat_ngram_size=1, end_ids=[])


def test_the_last_response_of_the_cpp_backend(server: TritonServer) -> None:
    """It says of it only when its last token came; in the others that is 0."""
    first_byte = AutoTokenizer.from_pretrained(CHECKPOINT).convert_tokens_to_ids("\u00c3")
    texts = []
    for last_token_time in (0, 5):
        tensors: dict[str, Array] = {
            "TOKENS_BATCH": np.array([[[first_byte]]], np.int32),
            "SEQUENCE_LENGTH": np.array([[1]], np.int32),
            "ARRIVAL_TIME_NS": np.array([[1]], np.int64),
            "LAST_TOKEN_TIME_NS": np.array([[last_token_time]], np.int64),
        }
        response = infer(server, Call("postprocessing", tensors, request_id="cpp"))
        assert (response.as_numpy("PENDING") is None) is bool(last_token_time)
        assert response.as_numpy("FINISH_REASON") is None
        texts.append(response.as_numpy("OUTPUT")[0].decode())
    assert texts == ["", "\N{REPLACEMENT CHARACTER}" * 2]


@pytest.mark.extended
class TestACallThatIsCancelled:
    """What Triton does of it (docs/decisions/0002); last, for the server never finishes it."""

    @pytest.fixture(autouse=True)
    def nothing_stays(self) -> None:
        """It does stay, bounded in number and time (test_streams.py)."""

    def test_its_later_responses_do_not_reach_postprocessing(self, server: TritonServer) -> None:
        """The engine runs to its end, and says so to nobody: a client should stop its request."""
        request = service_pb2.ModelInferRequest(model_name="ensemble", id="cancelled")
        for tensor in infer_inputs(
            {
                "messages": np.array([[json.dumps(QUESTION).encode()]], np.object_),
                "max_tokens": np.array([[LONG_REPLY]], np.int32),
                "min_tokens": np.array([[LONG_REPLY]], np.int32),
                "stream": np.array([[True]]),
            }
        ):
            request.inputs.append(tensor._get_tensor())
            request.raw_input_contents.append(tensor._get_content())
        with grpc.insecure_channel(server.grpc_address) as channel:
            call = channel.stream_stream(
                "/inference.GRPCInferenceService/ModelStreamInfer",
                request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            )(iter([request]))
            next(call)
            wait_until(lambda: active_requests(server) == 1)
            call.cancel()
        answered = decoded(server)
        wait_until(lambda: active_requests(server) == 0)
        # Metrics of the models come late.
        wait_until(lambda: metric(server.metrics_url, "aeolus_postprocessing_streams") == 1)
        assert metric(server.metrics_url, "aeolus_postprocessing_streams") == 1
        assert decoded(server) - answered <= 2  # what was under way


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def decoded(server: TritonServer) -> float:
    """How many responses of the engine postprocessing has been given."""
    family = "nv_inference_request_success_total"
    return metric(server.metrics_url, family, model="postprocessing")
