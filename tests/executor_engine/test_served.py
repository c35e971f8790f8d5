"""The executor behind the whole service, on a real tritonserver: the stand-in is all that is not.

The suites of the shared server run on it, too: `make test-executor`.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from engine_step.metrics import GAUGES
from launcher.server import TritonServer
from support.engine_harness import Oracle
from support.engine_tensors import ask, question
from support.metrics import metric
from support.rehearsal import DEMO, rehearsed_triton
from support.serving import serve_shim, wait_until_ready
from support.triton_calls import Call, stream

pytestmark = pytest.mark.server

PROMPT = [5, 6, 7, 8]
LONG = 400
MODEL = "llama-3-8b-instruct"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("executor")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[TritonServer]:
    with rehearsed_triton(directory) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: TritonServer) -> Iterator[str]:
    with serve_shim(server.grpc_address, [MODEL, "mistral-7b"]) as url:
        wait_until_ready(url)
        yield url


def streamed(server: TritonServer, prompt: list[int], length: int) -> list[int]:
    replies = ask(server, question(prompt, length, streaming=True))
    return [token for reply in replies for token in reply.beams[0]]


def test_streams_side_by_side_are_transformers_tokens_in_order(server: TritonServer) -> None:
    oracle = Oracle(DEMO)
    prompts = [[10 + number, *PROMPT] for number in range(24)]
    found: dict[int, list[int]] = {}
    threads = [
        threading.Thread(
            target=lambda number=number: found.update(
                {number: streamed(server, prompts[number], 20)}
            )
        )
        for number in range(len(prompts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, prompt in enumerate(prompts):
        assert found[number] == oracle.generate(prompt, 20, do_sample=False)[0], number


def test_a_beam_search_with_the_catalogs_defaults_is_transformers(url: str) -> None:
    """Llama's README asks for four beams, which the C++ backend cannot search as Hugging Face."""
    body = {"messages": [{"role": "user", "content": "What is a zephyr?"}], "max_new_tokens": 8}
    reply = httpx.post(f"{url}/predict", json={**body, "num_beams": 4}, timeout=60)
    assert reply.status_code == 200, reply.text
    penalised = httpx.post(
        f"{url}/predict", json={**body, "num_beams": 4, "length_penalty": 0.0}, timeout=60
    )
    assert penalised.status_code == 200


@pytest.mark.parametrize("limit", [0, 1])
def test_a_repeated_prompt_is_scored_as_the_model_scores_it(url: str, limit: int) -> None:
    """What lm-evaluation-harness asks for."""
    prompt = [100, 200, 300, 200, 7]
    body = {"model": "mistral-7b", "prompt": prompt, "echo": True, "logprobs": 2}
    reply = httpx.post(
        f"{url}/v1/completions", json={**body, "max_tokens": limit, "temperature": 0}, timeout=60
    )
    assert reply.status_code == 200, reply.text
    found = reply.json()["choices"][0]["logprobs"]
    model = Oracle(DEMO).model
    log_probs = torch.log_softmax(model(torch.tensor([prompt])).logits[0].detach(), dim=-1)
    own = [float(row[token]) for row, token in zip(log_probs, prompt[1:], strict=False)]
    best = log_probs.max(dim=-1).values.tolist()
    assert found["token_logprobs"] == pytest.approx([None, *own, *best[4:]][: 5 + limit], abs=1e-4)
    assert len(found["tokens"]) == len(found["top_logprobs"]) == 5 + limit
    for top, expected in zip(found["top_logprobs"][1:], best, strict=False):
        assert max(top.values()) == pytest.approx(expected, abs=1e-4)


def test_what_the_cpp_backend_refuses_is_served(server: TritonServer) -> None:
    for values in (
        {"no_repeat_ngram_size": 2},
        {"beam_width": 2, "length_penalty": 2.0},
        {"beam_width": 2, "early_stopping": 1},
        {"top_p": 0.9, "top_p_min": 0.5, "top_p_decay": 0.9, "seed": 3},
    ):
        assert generate(server, **values)["text_output"], values


def generate(server: TritonServer, **inputs: object) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{server.http_url}/v2/models/ensemble/generate_stream",
        data=json.dumps({"text_input": "Hello", "max_tokens": 8, **inputs}).encode(),
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        text = response.read().decode()
    reply: dict[str, Any] = json.loads(text.strip().splitlines()[-1].removeprefix("data: "))
    return reply


def test_a_stop_order_ends_a_stream_soon(server: TritonServer) -> None:
    def stop() -> None:
        stream(server, Call("tensorrt_llm", question([1], 1, stop=True), request_id="s"))

    begun = time.monotonic()
    replies = ask(server, question(PROMPT, LONG, streaming=True), request_id="s", on_first=stop)
    tokens = [token for reply in replies for token in reply.beams[0]]
    assert 0 < len(tokens) < LONG
    assert time.monotonic() - begun < 30


def test_the_metrics_are_the_cpp_backends(server: TritonServer) -> None:
    ask(server, question(PROMPT, 4))
    for family, label, value in GAUGES:
        metric(server.metrics_url, family, **{label: value})
    requests, memory = "nv_trt_llm_request_metrics", "nv_trt_llm_runtime_memory_metrics"
    assert metric(server.metrics_url, requests, request_type="max") == 16
    assert metric(server.metrics_url, memory, memory_type="gpu") > 0


def test_a_failed_step_is_an_error_of_each_request_and_of_no_later_one(
    url: str, directory: Path
) -> None:
    error = directory / "engine" / "forward_error_once"
    body = {
        "messages": [{"role": "user", "content": "Hello"}],
        "max_new_tokens": 2000,
        "num_beams": 1,
        "do_sample": False,
    }
    options = {**body, "stream": True, "min_new_tokens": 1500}
    with httpx.stream("POST", f"{url}/predict", json=options, timeout=60) as reply:
        chunks = reply.iter_bytes()
        next(chunks)
        error.write_text("CUDA error: an illegal memory access was encountered")
        with pytest.raises(httpx.RemoteProtocolError):
            list(chunks)
    assert not error.exists()
    again = httpx.post(f"{url}/predict", json={**body, "max_new_tokens": 4}, timeout=60)
    assert again.status_code == 200
