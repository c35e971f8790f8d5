"""Calls of the ensemble as end_to_end_grpc_client.py makes them.

NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/client/end_to_end_grpc_client.py
"""

import re
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from launcher.server import TritonServer
from support.triton_calls import Array, Call, names_of, stream

pytestmark = pytest.mark.server

QUESTION = "What is a zephyr?"


def inputs(prompt: str = QUESTION, *, streaming: bool, **more: Any) -> dict[str, Array]:
    """What it always sends, and options; all of two dimensions."""
    tensors: dict[str, Array] = {
        "text_input": np.array([[prompt]], np.object_),
        "max_tokens": np.array([[48]], np.int32),
        "stream": np.array([[streaming]]),
        "beam_width": np.array([[1]], np.int32),
        "temperature": np.array([[1.0]], np.float32),
        "exclude_input_in_output": np.array([[False]]),
    }
    return tensors | {name: np.array([value]) for name, value in more.items()}


def texts_of(results: list[Any]) -> list[str]:
    """Decode the first element of every response, strictly."""
    return [result.as_numpy("text_output")[0].decode("utf-8") for result in results]


def call(tensors: dict[str, Array], *outputs: str) -> Call:
    return Call("ensemble", tensors, ["text_output", *outputs], request_id="1")


@pytest.fixture(scope="module")
def expected(triton: TritonServer) -> str:
    [text] = texts_of(stream(triton, call(inputs(streaming=False))))
    assert text.startswith(QUESTION)
    return text


def test_the_chunks_of_a_stream_join_to_the_whole_reply(
    triton: TritonServer, expected: str
) -> None:
    chunks = texts_of(stream(triton, call(inputs(streaming=True))))
    assert len(chunks) > 1
    assert QUESTION + "".join(chunks) == expected


def test_every_chunk_of_any_text_is_valid_utf_8(triton: TritonServer) -> None:
    tensors = inputs("ü 漢字 🌬", streaming=True, top_p=[np.float32(1.0)], seed=[np.uint64(3)])
    tensors["temperature"] = np.array([[50.0]], np.float32)  # random bytes
    chunks = texts_of(stream(triton, call(tensors)))
    assert "".join(chunks).encode()


def test_only_the_text_comes_where_nothing_else_was_requested(triton: TritonServer) -> None:
    for result in stream(triton, call(inputs(streaming=True))):
        assert names_of(result) == ["text_output"]


def test_its_optional_values_are_taken(triton: TritonServer, expected: str) -> None:
    tensors = inputs(
        streaming=False,
        num_return_sequences=[np.int32(1)],
        repetition_penalty=[np.float32(1.0)],
        presence_penalty=[np.float32(0.0)],
        frequency_penalty=[np.float32(0.0)],
        bad_words=np.array(["hurricane", "typhoon"], np.object_),
        stop_words=np.array(["never said"], np.object_),
        end_id=[np.int32(0)],
        pad_id=[np.int32(0)],
    )
    assert texts_of(stream(triton, call(tensors))) == [expected]


def test_words_with_a_bias_come(triton: TritonServer, expected: str) -> None:
    assert " storm" not in expected
    tensors = inputs(
        streaming=False,
        embedding_bias_words=np.array([" storm"], np.object_),
        embedding_bias_weights=np.array([100.0], np.float32),
    )
    [text] = texts_of(stream(triton, call(tensors)))
    assert "storm" in text


def test_log_probs_come_where_they_were_requested(triton: TritonServer) -> None:
    tensors = inputs(streaming=False, return_log_probs=[True])
    [result] = stream(triton, call(tensors, "cum_log_probs", "output_log_probs"))
    assert set(names_of(result)) == {"text_output", "cum_log_probs", "output_log_probs"}
    assert result.as_numpy("cum_log_probs").shape == (1, 1)
    assert result.as_numpy("output_log_probs").shape[:2] == (1, 1)


def test_several_beams_are_several_texts(triton: TritonServer) -> None:
    tensors = inputs(streaming=False) | {"beam_width": np.array([[2]], np.int32)}
    [result] = stream(triton, call(tensors))
    assert len(texts_of([result])) == 1
    assert result.as_numpy("text_output").shape == (2,)


def test_several_sequences_of_one_request_are_refused(triton: TritonServer) -> None:
    tensors = inputs(streaming=False) | {"num_return_sequences": np.array([[2]], np.int32)}
    with pytest.raises(InferenceServerException, match="num_return_sequences is 2"):
        stream(triton, call(tensors))


def test_a_guide_is_followed(triton: TritonServer) -> None:
    guide = {"guided_decoding_guide_type": b"regex", "guided_decoding_guide": b"[0-9]{2} knots"}
    tensors = inputs(streaming=False) | {
        name: np.array([[value]], np.object_) for name, value in guide.items()
    }
    [text] = texts_of(stream(triton, call(tensors)))
    assert re.search("[0-9]{2} knots$", text)
