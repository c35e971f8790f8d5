"""Triton's HTTP endpoints as the curl examples of NVIDIA's documents and genai-perf use them.

triton-inference-server/tensorrtllm_backend, docs/llama.md
"""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from launcher.server import TritonServer

pytestmark = pytest.mark.server

BODY: dict[str, Any] = {"text_input": "What is machine learning?", "max_tokens": 20}
CURL = {**BODY, "bad_words": "", "stop_words": "", "pad_id": 2, "end_id": 2}


def post(server: TritonServer, endpoint: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(
        f"{server.http_url}/v2/models/ensemble/{endpoint}", data=json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text: str = response.read().decode("utf-8")
    return text


def events(server: TritonServer, body: dict[str, Any]) -> list[dict[str, Any]]:
    lines = post(server, "generate_stream", body).split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line]


@pytest.mark.parametrize("body", [BODY, CURL])
def test_generate_answers_with_one_text(triton: TritonServer, body: dict[str, Any]) -> None:
    reply = json.loads(post(triton, "generate", body))
    assert isinstance(reply["text_output"], str)
    assert reply["text_output"]
    assert reply["model_name"] == "ensemble"


def test_generate_stream_answers_with_the_text_in_events(triton: TritonServer) -> None:
    whole = json.loads(post(triton, "generate", BODY))["text_output"]
    chunks = [event["text_output"] for event in events(triton, {**BODY, "stream": True})]
    assert len(chunks) > 1
    assert "".join(chunks) == whole


def test_generate_stream_without_stream_is_one_event(triton: TritonServer) -> None:
    [event] = events(triton, BODY)
    assert event["text_output"] == json.loads(post(triton, "generate", BODY))["text_output"]


def test_lists_are_tensors_of_one_dimension(triton: TritonServer) -> None:
    plain = json.loads(post(triton, "generate", BODY))["text_output"]
    word = plain.split()[1]
    banned = {**BODY, "bad_words": [word, f" {word}"], "temperature": 1.0, "top_k": 1}
    assert word not in json.loads(post(triton, "generate", banned))["text_output"].split()


def test_a_wrong_value_is_told_and_is_the_callers(triton: TritonServer) -> None:
    with pytest.raises(urllib.error.HTTPError) as failure:
        post(triton, "generate", {**BODY, "max_tokens": -1})
    assert failure.value.code == 400
    assert "invalid request" in json.loads(failure.value.read())["error"]
