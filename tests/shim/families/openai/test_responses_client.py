"""OpenAI's responses by the official client against a running shim."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from launcher.server import TritonServer
from support.serving import shim_server, wait_until_ready

pytestmark = pytest.mark.server

MODEL = "zephyr-7b-beta"
QUESTION = "What is a zephyr?"
LOGPROBS: Any = ["message.output_text.logprobs"]


@pytest.fixture(scope="module")
def client(shim_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{shim_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def chat(client: OpenAI, messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_tokens=12, **more
    )


def test_a_response_is_what_a_chat_answers(client: OpenAI) -> None:
    response = client.responses.create(
        model=MODEL, input=QUESTION, temperature=0, max_output_tokens=12
    )
    same = chat(client, [{"role": "user", "content": QUESTION}])
    assert response.output_text == same.choices[0].message.content
    assert (response.object, response.model) == ("response", MODEL)
    assert (response.status, response.error) == ("incomplete", None)
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert (response.temperature, response.max_output_tokens) == (0, 12)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (
        same.usage.prompt_tokens,
        12,
    )
    assert response.usage.total_tokens == same.usage.total_tokens


def test_a_response_that_ends_by_itself_is_completed(client: OpenAI) -> None:
    response = client.responses.create(model=MODEL, input=QUESTION, temperature=0)
    assert (response.status, response.incomplete_details) == ("completed", None)
    assert response.completed_at is not None


def test_previous_turns_are_sent_as_the_client_has_them(client: OpenAI) -> None:
    turns: list[Any] = [{"role": "user", "content": QUESTION}]
    first = client.responses.create(model=MODEL, input=turns, temperature=0, max_output_tokens=12)
    turns += first.output
    turns += [{"role": "user", "content": "Where?"}]
    second = client.responses.create(
        model=MODEL, instructions="Be brief.", input=turns, temperature=0, max_output_tokens=12
    )
    same = chat(
        client,
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": first.output_text},
            {"role": "user", "content": "Where?"},
        ],
    )
    assert second.output_text == same.choices[0].message.content
    assert second.instructions == "Be brief."


def test_a_stream_tells_the_response_by_its_events(client: OpenAI) -> None:
    plain = client.responses.create(
        model=MODEL, input=QUESTION, temperature=0, max_output_tokens=12
    )
    events = list(
        client.responses.create(
            model=MODEL, input=QUESTION, temperature=0, max_output_tokens=12, stream=True
        )
    )
    kinds = [each.type for each in events]
    deltas = kinds.count("response.output_text.delta")
    assert deltas > 1
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * deltas,
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [each.sequence_number for each in events] == list(range(len(events)))
    texts = [each.delta for each in events if each.type == "response.output_text.delta"]
    assert "".join(texts) == plain.output_text
    last: Any = events[-1]
    assert last.response.output_text == plain.output_text
    assert last.response.usage == plain.usage
    first: Any = events[0]
    assert (first.response.id, first.response.status) == (last.response.id, "in_progress")


def test_the_clients_stream_helper_gathers_the_final_response(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=QUESTION, temperature=0) as stream:
        for event in stream:
            if event.type == "response.output_text.done":
                text = event.text
        response = stream.get_final_response()
    assert response.status == "completed"
    assert response.output_text == text != ""


def test_log_probabilities_of_the_text_are_included_on_request(client: OpenAI) -> None:
    create = client.responses.create
    given: Any = {"model": MODEL, "input": QUESTION, "temperature": 0, "max_output_tokens": 8}
    content: Any = create(**given, include=LOGPROBS).output[0]
    tokens = content.content[0].logprobs
    same = chat(client, [{"role": "user", "content": QUESTION}], logprobs=True)
    expected = same.choices[0].logprobs.content[:8]
    assert [each.token for each in tokens] == [each.token for each in expected]
    assert [each.logprob for each in tokens] == pytest.approx([each.logprob for each in expected])
    streamed = [
        token
        for event in create(**given, include=LOGPROBS, stream=True)
        if event.type == "response.output_text.delta"
        for token in event.logprobs
    ]
    assert [each.token for each in streamed] == [each.token for each in tokens]


def test_state_is_refused(client: OpenAI) -> None:
    for name, value in {"store": True, "previous_response_id": "resp_1"}.items():
        refused: Any = {"model": MODEL, "input": QUESTION, name: value}
        with pytest.raises(openai.BadRequestError, match="nothing is stored here") as raised:
            client.responses.create(**refused)
        assert raised.value.param == name
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_a_prompt_that_is_too_long_is_the_inputs_fault(client: OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as raised:
            client.responses.create(model=MODEL, input="wind " * 6000, stream=stream)
        assert (raised.value.param, raised.value.code) == ("input", "invalid_value")


def test_a_stream_that_fails_says_so(triton: TritonServer) -> None:
    body = {"model": MODEL, "input": QUESTION, "stream": True, "min_new_tokens": 3000}
    with shim_server(triton.grpc_address, drain_seconds=0) as (server, url):
        wait_until_ready(url)
        with requests.post(f"{url}/v1/responses", json=body, stream=True, timeout=60) as reply:
            lines = reply.iter_lines(chunk_size=1)
            while next(lines) != b"event: response.output_text.delta":
                pass
            server.handle_exit(signal.SIGTERM, None)
            last = [each for each in lines if each.startswith(b"data: ")][-1]
    event = json.loads(last.removeprefix(b"data: "))
    assert (event["type"], event["response"]["status"]) == ("response.failed", "failed")
    assert event["response"]["error"]["code"] == "server_error"
