"""The `postprocessing` model inside a real tritonserver."""

import itertools
import random
import time
from collections import defaultdict
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tokenizers import Tokenizer

from build_engines.tensorrt_llm.assemble import COMMITTED
from launcher.server import TritonServer
from support.metrics import metric
from support.triton_calls import infer_inputs

pytestmark = pytest.mark.server

TIMEOUT_SECONDS = 60
NUM_STREAMS = 16
NUM_TOKENS = 60


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(
        str(COMMITTED.path.parent / "demo" / "checkpoint" / "tokenizer.json")
    )


def inputs_of(beams: list[list[int]], arrival: int | None) -> list[Any]:
    longest = max(len(tokens) for tokens in beams)
    padded = [tokens + [-1] * (longest - len(tokens)) for tokens in beams]
    tensors = {
        "TOKENS_BATCH": np.array([padded], np.int32).reshape(1, len(beams), longest),
        "SEQUENCE_LENGTH": np.array([[len(tokens) for tokens in beams]], np.int32),
    }
    if arrival is not None:
        tensors["ARRIVAL_TIME_NS"] = np.array([[arrival]], np.int64)
    return infer_inputs(tensors)


def texts_of(result: triton_grpc.InferResult, name: str) -> list[str]:
    return [text.decode() for text in result.as_numpy(name)]


def test_interleaved_streams_come_out_whole_and_in_order(
    triton: TritonServer, tokenizer: Tokenizer
) -> None:
    rng = random.Random(0)
    size = tokenizer.get_vocab_size()
    streams = [[rng.randrange(size) for _ in range(NUM_TOKENS)] for _ in range(NUM_STREAMS)]
    # One token a response, then the end: a response without any.
    sent = [
        (number, streams[number][step : step + 1])
        for step in range(NUM_TOKENS + 1)
        for number in rng.sample(range(NUM_STREAMS), NUM_STREAMS)
    ]
    received: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        client.start_stream(lambda result, error: received.put((result, error)))
        for number, tokens in sent:  # none waits for the one before
            client.async_stream_infer(
                "postprocessing", inputs_of([tokens], arrival=7), request_id=str(number)
            )
        texts: defaultdict[str, str] = defaultdict(str)
        for _ in sent:
            result, error = received.get(timeout=TIMEOUT_SECONDS)
            assert error is None, error
            texts[result.get_response().id] += texts_of(result, "OUTPUT")[0]
        client.stop_stream()
    assert dict(texts) == {
        str(number): tokenizer.decode(tokens) for number, tokens in enumerate(streams)
    }


def test_a_whole_reply_needs_no_arrival_time_and_has_a_text_for_each_beam(
    triton: TritonServer, tokenizer: Tokenizer
) -> None:
    beams = [tokenizer.encode(text).ids for text in ("a gentle breeze", "wind")]
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        result = client.infer("postprocessing", inputs_of(beams, arrival=None))
    assert texts_of(result, "OUTPUT") == ["a gentle breeze", "wind"]
    assert [output.name for output in result.get_response().outputs] == ["OUTPUT"]


@pytest.mark.parametrize(("skip", "text"), [(True, ""), (False, "<|endoftext|>")])
def test_the_request_says_whether_special_tokens_show(
    triton: TritonServer, tokenizer: Tokenizer, skip: bool, text: str
) -> None:
    end = tokenizer.token_to_id("<|endoftext|>")
    assert end is not None
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        result = client.infer(
            "postprocessing",
            inputs_of([[end]], arrival=None),
            parameters={"skip_special_tokens": skip},
        )
    assert texts_of(result, "OUTPUT") == [text]


def test_running_streams_are_counted_in_the_servers_metrics(
    triton: TritonServer, tokenizer: Tokenizer
) -> None:
    wind = tokenizer.encode("wind").ids
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with triton_grpc.InferenceServerClient(triton.grpc_address) as client:
        for number in itertools.count():
            client.infer("postprocessing", inputs_of([wind], arrival=number), request_id="metric")
            if 1 <= metric(triton.metrics_url, "aeolus_postprocessing_streams") <= 4096:
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)  # the gauge is set at most once a second
