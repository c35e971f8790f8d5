"""The steps called one after the other, as end_to_end_test.py does, against the ensemble.

NVIDIA/TensorRT-LLM, triton_backend/tools/inflight_batcher_llm/end_to_end_test.py
"""

import numpy as np
import pytest

from launcher.server import TritonServer
from support.triton_calls import Array, Call, infer

pytestmark = pytest.mark.server

PROMPTS = {"What is a zephyr?": 10, "Born in north-east France, Soyer trained as a": 20, "x": 1}


def steps(server: TritonServer, prompt: Array, length: Array) -> Array:
    empty = np.array([[""]], np.object_)
    prepared = infer(
        server,
        Call(
            "preprocessing",
            {
                "QUERY": prompt,
                "BAD_WORDS_DICT": empty,
                "STOP_WORDS_DICT": empty,
                "REQUEST_OUTPUT_LEN": length,
            },
        ),
    ).as_numpy
    generated = infer(
        server,
        Call(
            "tensorrt_llm",
            {
                "input_ids": prepared("INPUT_ID"),
                "decoder_input_ids": prepared("DECODER_INPUT_ID"),
                "input_lengths": prepared("REQUEST_INPUT_LEN"),
                "request_output_len": prepared("REQUEST_OUTPUT_LEN"),
                "end_id": prepared("OUT_END_ID"),
                "pad_id": prepared("OUT_PAD_ID"),
            },
        ),
    ).as_numpy
    tokens = {
        "TOKENS_BATCH": generated("output_ids").astype(np.int32),
        "SEQUENCE_LENGTH": generated("sequence_length"),
    }
    text: Array = infer(server, Call("postprocessing", tokens)).as_numpy("OUTPUT")
    return text


@pytest.mark.parametrize("prompt", PROMPTS)
def test_it_is_the_ensembles_text(whole_replies: TritonServer, prompt: str) -> None:
    text_input = np.array([[prompt]], np.object_)
    length = np.array([[PROMPTS[prompt]]], np.int32)
    empty = np.array([[""]], np.object_)
    tensors = {"text_input": text_input, "max_tokens": length}
    tensors |= {"bad_words": empty, "stop_words": empty}
    whole = infer(whole_replies, Call("ensemble", tensors, ["text_output"]))
    assert steps(whole_replies, text_input, length) == whole.as_numpy("text_output")
