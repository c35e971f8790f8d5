"""Streamed replies from a real tritonserver: early, ordered, complete, in each form."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.server

TIMEOUT = 120
PLAIN_GREEDY = {"do_sample": False, "return_full_text": False, "stream": False}
GREEDY = {"do_sample": False, "stream": True}
PROMPTS = [
    "What is a zephyr?",
    "Tell me about the wind.",
    "Who are you?",
    "What is Triton?",
    "Write a haiku about caf\u00e9s \u2615 and na\u00efve winds.",
    "Which models do you serve?",
    "How does streaming work?",
    "What is a token?",
    "Hello!",
    "Why is the sky blue?",
    "def add(a, b):",
    "What is the mistral?",
    "Name three winds.",
    "1 2 3 4 5",
    "\u98a8\u306f\u4f55\u3067\u3059\u304b",
    "Good night",
]


def url(shim_url: str) -> str:
    return f"{shim_url}/v1/models/stablelm-zephyr-3b:predict"


def body(prompt: str, **parameters: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": prompt}],
        "max_new_tokens": 60,
        **parameters,
    }


def plain(shim_url: str, prompt: str, **parameters: Any) -> str:
    reply = httpx.post(
        url(shim_url), json=body(prompt, **PLAIN_GREEDY, **parameters), timeout=TIMEOUT
    )
    assert reply.status_code == 200, reply.text
    text: str = reply.json()["output"]
    return text


def chunks(shim_url: str, prompt: str, **parameters: Any) -> list[tuple[float, bytes]]:
    """Return each chunk with the time at which it came."""
    with httpx.stream(
        "POST", url(shim_url), json=body(prompt, **GREEDY, **parameters), timeout=TIMEOUT
    ) as reply:
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "application/octet-stream"
        assert reply.headers["transfer-encoding"] == "chunked"
        return [(time.monotonic(), chunk) for chunk in reply.iter_raw()]


def test_the_first_chunk_comes_before_the_generation_ends(shim_url: str) -> None:
    started = time.monotonic()
    length = {"min_new_tokens": 1000, "max_new_tokens": 1000}
    times = [at for at, _ in chunks(shim_url, PROMPTS[0], **length)]
    first, last = times[0] - started, times[-1] - started
    assert len(times) > 3
    assert first < last / 2


def test_sixteen_concurrent_streams_each_equal_their_own_plain_text(shim_url: str) -> None:
    expected = [plain(shim_url, prompt) for prompt in PROMPTS]
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        streams = list(pool.map(lambda prompt: chunks(shim_url, prompt), PROMPTS))
    assert ["".join(chunk.decode() for _, chunk in each) for each in streams] == expected
    assert all(text.strip() for text in expected)


def test_streams_overlap(shim_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        streams = list(
            pool.map(
                lambda prompt: chunks(shim_url, prompt, min_new_tokens=600, max_new_tokens=600),
                PROMPTS[:4],
            )
        )
    assert max(each[0][0] for each in streams) < min(each[-1][0] for each in streams)


def test_the_default_of_the_model_is_to_stream(shim_url: str) -> None:
    reply = httpx.post(
        f"{shim_url}/predict",
        json=body(PROMPTS[0], do_sample=False),
        timeout=TIMEOUT,
    )
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.text == plain(shim_url, PROMPTS[0])


@pytest.mark.parametrize("model", ["llama-3-8b-instruct", "zephyr-7b-beta"])
def test_models_that_do_not_stream_by_default_stream_on_request(shim_url: str, model: str) -> None:
    reply = httpx.post(
        f"{shim_url}/model_versions/{model}/predict",
        json=body(PROMPTS[0], **GREEDY),
        timeout=TIMEOUT,
    )
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.text == plain(shim_url, PROMPTS[0])


def test_a_streamed_prompt_is_not_repeated(shim_url: str) -> None:
    request = {"prompt": PROMPTS[0], "max_new_tokens": 30, "do_sample": False}
    predict = f"{shim_url}/v1/models/mistral-7b:predict"
    streamed = httpx.post(predict, json={**request, "stream": True}, timeout=TIMEOUT).text
    whole = httpx.post(predict, json={**request, "skip_special_tokens": True}, timeout=TIMEOUT)
    assert whole.json() == PROMPTS[0] + streamed


def test_accept_json_gathers_the_stream_into_one_string(shim_url: str) -> None:
    reply = httpx.post(
        url(shim_url),
        json=body(PROMPTS[0], **GREEDY),
        headers={"accept": "application/json"},
        timeout=TIMEOUT,
    )
    assert reply.headers["content-type"] == "application/json"
    assert reply.json() == plain(shim_url, PROMPTS[0])
    assert reply.headers["x-finish-reason"] == "stop"


def test_accept_event_stream_gets_server_sent_events(shim_url: str) -> None:
    reply = httpx.post(
        url(shim_url),
        json=body(PROMPTS[0], **GREEDY, min_new_tokens=10),
        headers={"accept": "text/event-stream"},
        timeout=TIMEOUT,
    )
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.text.endswith("\n\n")
    events = [
        json.loads(event.removeprefix("data: "))
        for event in reply.text.removesuffix("\n\n").split("\n\n")
    ]
    text = "".join(event["text"] for event in events)
    assert text == plain(shim_url, PROMPTS[0], min_new_tokens=10)
    assert events[-1]["finish_reason"] == "stop"
    assert events[-1]["usage"]["prompt_tokens"] > 0
    assert 10 <= events[-1]["usage"]["completion_tokens"] < 60
    assert all("finish_reason" not in event for event in events[:-1])


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream"])
def test_a_refusal_of_the_server_keeps_its_status_when_streamed(shim_url: str, accept: str) -> None:
    reply = httpx.post(
        url(shim_url),
        json=body(PROMPTS[0], stream=True, max_length=1),
        headers={"accept": accept},
        timeout=TIMEOUT,
    )
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == ["error"]
