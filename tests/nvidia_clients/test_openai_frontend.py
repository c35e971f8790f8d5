"""Calls of the ensemble as Triton's OpenAI frontend makes them, without a request id.

triton-inference-server/server, python/openai/openai_frontend/engine
"""

from typing import Any

import numpy as np
import pytest

from launcher.server import TritonServer
from support.triton_calls import Array, Call, infer, stream

pytestmark = pytest.mark.server

MAX_TOKENS = 32


def inputs(streaming: bool, **more: Any) -> dict[str, Array]:
    tensors: dict[str, Array] = {
        "text_input": np.array([["What is a zephyr?"]], np.object_),
        "stream": np.array([[streaming]]),
        "max_tokens": np.array([[MAX_TOKENS]], np.int32),
        "return_num_input_tokens": np.array([[True]]),
        "return_num_output_tokens": np.array([[True]]),
        "top_p": np.array([[1.0]], np.float32),
        "temperature": np.array([[0.0]], np.float32),  # without top_k
        "frequency_penalty": np.array([[0.0]], np.float32),
        "presence_penalty": np.array([[0.0]], np.float32),
        "seed": np.array([[7]], np.uint64),
        "stop_words": np.array([["never said"]], np.object_),
    }
    return tensors | {name: np.array([[value]]) for name, value in more.items()}


def text_of(result: Any) -> str:
    [text] = result.as_numpy("text_output").reshape(-1).tolist()
    return str(text.decode("utf-8"))


def count_of(result: Any, name: str) -> int:
    array = result.as_numpy(name)
    assert array.dtype == np.int32
    return int(array.reshape(-1)[0])


def test_a_chat_reply_is_the_answer_alone_and_counted(triton: TritonServer) -> None:
    [result] = stream(triton, Call("ensemble", inputs(streaming=False)))
    assert "What is a zephyr?" not in text_of(result)
    assert 0 < count_of(result, "num_output_tokens") <= MAX_TOKENS
    assert count_of(result, "num_input_tokens") > 0


def test_the_deltas_of_a_stream_and_their_counts_add_up_to_the_reply(
    triton: TritonServer,
) -> None:
    [whole] = stream(triton, Call("ensemble", inputs(streaming=False)))
    results = stream(triton, Call("ensemble", inputs(streaming=True)))
    assert "".join(map(text_of, results)) == text_of(whole)
    counts = [count_of(result, "num_output_tokens") for result in results]
    assert sum(counts) == count_of(whole, "num_output_tokens")
    assert count_of(results[0], "num_input_tokens") == count_of(whole, "num_input_tokens")


def test_temperature_0_draws_nothing(triton: TritonServer) -> None:
    texts = {
        text_of(stream(triton, Call("ensemble", inputs(False, seed=np.uint64(seed))))[0])
        for seed in range(3)
    }
    assert len(texts) == 1


def test_a_completion_may_repeat_its_prompt(whole_replies: TritonServer) -> None:
    result = infer(whole_replies, Call("ensemble", inputs(False, exclude_input_in_output=False)))
    assert text_of(result).startswith("What is a zephyr?")


def test_streams_without_an_id_do_not_mix(triton: TritonServer) -> None:
    call = Call("ensemble", inputs(streaming=True))
    alone = "".join(map(text_of, stream(triton, call)))
    other = inputs(streaming=True) | {"text_input": np.array([["Tell me of ü and 漢"]], np.object_)}
    other_alone = "".join(map(text_of, stream(triton, Call("ensemble", other))))
    # Prompts of different lengths tell the responses apart.
    prompts: dict[int, str] = {}
    for result in stream(triton, call, Call("ensemble", other)):
        key = count_of(result, "num_input_tokens")
        prompts[key] = prompts.get(key, "") + text_of(result)
    assert sorted(prompts.values()) == sorted([alone, other_alone])
